import json
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ldc.launch import main
from ldc.runtime import CONF
from ldc.train import main as train

LAUNCH = Path(__file__).parents[2] / "launch"
EXPERIMENT = "+experiment=bksdm"


def examples():
    """The commands of launch/README.md by the folder that they write."""
    text = (LAUNCH / "README.md").read_text().partition("## Examples")[2]
    commands = [shlex.split(line)[3:] for line in text.splitlines() if line.startswith("python -m ldc.launch")]
    return {words[-1].rpartition("/")[2]: words[:-1] for words in commands}


def scripts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def launched(command, tmp_path, monkeypatch):
    """Runs `ldc.launch` in a folder of its own, for a cluster without GPUs."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, main=main):
        return command(main, EXPERIMENT, "trainer=cpu", "cluster=slurm_cpu", *arguments)

    return run


@pytest.mark.parametrize("name", examples())
def test_an_example_is_what_its_command_writes(command, tmp_path, name):
    said = command(main, *examples()[name], f"out={tmp_path / name}")
    assert said.summary["submitted"] is False
    assert scripts(tmp_path / name) == scripts(LAUNCH / "examples" / name)


def test_every_example_has_its_command():
    assert set(examples()) == {path.name for path in (LAUNCH / "examples").iterdir()}


def test_a_dry_run_shows_the_script_and_writes_nothing(launched, tmp_path):
    said = launched("dry_run=true", "submit=true", "run=a")
    assert "#SBATCH --job-name=bksdm-a" in said.err
    (job,) = said.summary["jobs"]
    assert job == {"name": "bksdm-a", "runs": ["outputs/bksdm/a"], "script": None, "after": None, "id": None}
    assert list(tmp_path.iterdir()) == []


def test_the_run_has_the_name_that_train_would_give_it(launched, tmp_path, command):
    said = launched("cluster.tasks_per_node=2")
    (job,) = said.summary["jobs"]
    assert command(train, EXPERIMENT, "dry_run=true").summary["run"] == job["runs"][0]
    assert f"run={Path(job['runs'][0]).name}" in Path(job["script"]).read_text()
    assert Path(job["script"]).parent == tmp_path / job["runs"][0] / "slurm"


def test_a_chain_is_a_job_a_stage_each_after_the_one_before(launched):
    jobs = launched("chain=true", "run=a", "dry_run=true").summary["jobs"]
    stages = ["encode", "prune", "distil", "evaluate"]
    assert [job["name"] for job in jobs] == [f"bksdm-a-{stage}" for stage in stages]
    assert [job["after"] for job in jobs] == [None, *(job["name"] for job in jobs[:-1])]


def test_a_run_of_an_array_without_a_name_has_its_values_in_it(launched):
    (job,) = launched("array.seed=[3,4]", "+array.pruner=[bksdm_base]", "run=a", "dry_run=true").summary["jobs"]
    assert job["runs"] == ["outputs/bksdm/a-seed3-prunerbksdm_base", "outputs/bksdm/a-seed4-prunerbksdm_base"]


WRONG = {
    "stages.distil.max_stepz=3": "Key 'stages.distil.max_stepz' is not in the config; did you mean",
    "cluster.nodez=3": "Key 'cluster.nodez' is not in the config; did you mean 'cluster.nodes'",
    "cluster.tasks_per_node=3": "batch_size, the samples of a step over all devices, must be divisible by 3 devices",
    "cluster.nodes=two": "cluster.nodes must be a whole number, not 'two'.",
    "trainer.devices=2": "trainer.devices must come from the cluster's",
    "fresh=true": "fresh must be false in a job",
    "trainer=gpu": "trainer.accelerator must be cpu, since the cluster gives no GPUs",
    "data=shards": "data.path",
    "cluster=slurm_pyxis": "cluster.container.image must be given",
    "array.seed=3": "array.seed must be a list",
    "array.run=[a,a]": "array must give every run a name of its own",
    "+array.seeds=[1,2]": "Key 'seeds' is not in the config; did you mean 'seed'",
    "stage=distill": "stage must be one of encode, prune, distil, evaluate, not 'distill'.",
    "run=a/b": "run must be a name without / in a launch, which makes files of it, not 'a/b'.",
    "array.run=[a/b]": "run must be a name without / in a launch, which makes files of it, not 'a/b'.",
    "+cluster.stages.prun={nodes: 2}": "cluster.stages must name stages, as encode, prune, distil, evaluate, not",
    "+cluster.stages.prune=cpu": "cluster.stages.prune must be a mapping, as {NAME: VALUE}, not 'cpu'.",
    "cluster.options=--exclusive": "cluster.options must be a list of texts, not '--exclusive'.",
    "cluster.env=FOO": "cluster.env must be a mapping, as {NAME: VALUE}, not 'FOO'.",
    "cluster.container.mounts=/data": "cluster.container.mounts must be a list of texts, not '/data'.",
    "cluster.time=soon": "cluster.time must be null, minutes",
    "cluster.account='a\nb'": "An option of sbatch must be one line",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_setting_is_found_before_anything_is_written(refused, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    others = {"cluster": "slurm_cpu", "trainer": "cpu"} | {word.partition("=")[0]: word.partition("=")[2]}
    words = [f"{key}={value}" for key, value in others.items()]
    assert WRONG[word] in refused(main, EXPERIMENT, *words)
    assert list(tmp_path.iterdir()) == []


def test_without_an_experiment_the_experiments_are_named(refused):
    assert refused(main, "fresh=true").startswith("experiment must be given, as +experiment=NAME with one of bksdm,")


def test_stages_of_other_experiments_may_stand_in_a_clusters_file(launched):
    assert launched("+cluster.stages.few_step={nodes: 2}", "dry_run=true", "check=false").summary["dry_run"] is True


def test_processes_of_the_shell_that_launches_are_not_the_jobs(launched, monkeypatch):
    interactive = {"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "python"}
    for name, value in interactive.items():
        monkeypatch.setenv(name, value)
    assert launched("cluster.tasks_per_node=2", "dry_run=true").summary["dry_run"] is True


def test_a_chain_of_one_stage_is_refused(refused):
    said = refused(main, EXPERIMENT, "cluster=slurm_cpu", "chain=true", "stage=distil")
    assert said == "stage must be null with chain=true, which makes a job of each, not 'distil'."


def test_a_stages_own_number_of_processes_is_checked_against_its_batch(refused):
    stages = "+cluster.stages.distil={tasks_per_node: 3}"
    assert "divisible by 3 devices" in refused(main, EXPERIMENT, "cluster=slurm_cpu", "chain=true", stages)


def test_data_that_lies_on_the_cluster_only_need_not_be_here(launched):
    assert launched("data=shards", "data.path=/nowhere", "check=false", "dry_run=true").summary["dry_run"] is True


def test_a_run_folder_of_other_settings_is_refused(launched, tmp_path):
    folder = tmp_path / "outputs" / "bksdm" / "a" / "distil"
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"id": "other"}))
    said = launched("run=a")
    assert (said.code, "of another config or other inputs" in said.err[-1]) == (2, True)


def test_a_run_folder_of_other_settings_is_refused_below_the_jobs_folder(launched, tmp_path):
    folder = tmp_path / "there" / "outputs" / "bksdm" / "a" / "distil"
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"id": "other"}))
    assert "of another config or other inputs" in launched("run=a", "cluster.workdir=there").err[-1]


def test_without_sbatch_the_scripts_are_still_written(launched, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    said = launched("run=a", "submit=true")
    assert (said.code, said.err[-1].startswith("submit must be false where there is no sbatch")) == (2, True)
    assert (tmp_path / "outputs/bksdm/a/slurm/bksdm-a.sbatch").is_file()


def test_a_folder_of_the_users_own_clusters_travels_with_the_command(command, tmp_path):
    (tmp_path / "own" / "cluster").mkdir(parents=True)
    OmegaConf.save({"defaults": ["slurm_cpu", "_self_"], "account": "ours"}, tmp_path / "own" / "cluster" / "ours.yaml")
    flag = f"--config-dir={tmp_path / 'own'}"  # before all settings, as Hydra wants it
    said = command(main, flag, EXPERIMENT, "cluster=ours", "dry_run=true", "check=false")
    assert "#SBATCH --account=ours" in said.err
    assert f"  python -m ldc.train {flag}" in said.err


def test_a_runs_name_may_have_letters_that_hydra_minds(launched):
    (job,) = launched("run='a, b'", "array.seed=[0]", "dry_run=true").summary["jobs"]
    assert job["runs"] == ["outputs/bksdm/a, b-seed0"]


def test_a_finished_stage_gets_no_job(launched, tmp_path):
    train.task(composed("stage=prune", "run=a", "~stages.encode", "encoded=null"))
    jobs = launched("chain=true", "run=a", "~stages.encode", "encoded=null", "dry_run=true").summary["jobs"]
    assert [job["name"] for job in jobs] == ["bksdm-a-distil", "bksdm-a-evaluate"]


def composed(*words):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", overrides=[EXPERIMENT, *words])
