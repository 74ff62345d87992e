"""Scripts are run by the real bash, with a srun that says what it was given."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ldc.runtime.launching import Cluster, Job, script
from ldc.runtime.launching.jobs import Task
from ldc.runtime.launching.words import Words

TEXT = """it's a "red", (round) apple = ${price} $HOME `x` {x} [y] \\ 🍏 #!;& | \t\r\n#SBATCH --nodes=9\nEOF"""
SRUN = """#!/usr/bin/env bash
printf '%s\\0' "$@"
exit "${SRUN_STATUS:-0}"
"""


def job(*settings, cluster=None, tasks=((),), stage=None, folder="/out"):
    made = tuple(Task(words, SimpleNamespace(), ()) for words in tasks)
    words = Words((), settings)
    cluster = cluster or Cluster(workdir="/")
    return Job("name", cluster, words, stage, made, is_array=len(made) > 1, folder=Path(folder))


@pytest.fixture
def given(tmp_path, monkeypatch):
    """`given(job, **environment)`: what srun is given by the job's script."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)

    def run(job, *, check=True, **environment):
        path = tmp_path / "job.sbatch"
        path.write_text(script(job))
        environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": "7", **environment}
        process = subprocess.run(  # noqa: S603
            ["/bin/bash", path], env=environment, capture_output=True, check=check
        )
        return process.stdout.decode().split("\0")[:-1]

    return run


def test_any_text_reaches_the_command_as_it_was_typed(given):
    words = given(job(f"prompt={TEXT}", "seed=0"))
    assert words[:4] == ["--kill-on-bad-exit=1", "python", "-m", "ldc.train"]
    assert words[4:] == [
        f"prompt={TEXT}",
        "seed=0",
        "trainer.num_nodes=1",
        "trainer.devices=1",
        "trainer.accelerator=cpu",
    ]


def test_no_text_is_an_option_of_sbatch_or_a_line_that_it_refuses():
    text = script(job(f"prompt={TEXT}"))
    assert "\r" not in text
    assert "\n#SBATCH --nodes=9" not in text


def test_an_option_of_two_lines_is_refused():
    with pytest.raises(ValueError, match="must be one line"):
        script(job(cluster=Cluster(account="a\n#SBATCH --nodes=9")))


def test_each_task_of_an_array_has_its_own_words(given):
    array = job("x=1", tasks=(("seed=0", "run=a"), ("seed=1", f"run={TEXT}")))
    assert "#SBATCH --array=0-1\n" in script(array)
    assert given(array, SLURM_ARRAY_TASK_ID="0")[-2:] == ["seed=0", "run=a"]
    assert given(array, SLURM_ARRAY_TASK_ID="1")[-2:] == ["seed=1", f"run={TEXT}"]


def test_an_array_may_be_limited():
    array = job(tasks=(("a=0",), ("a=1",)), cluster=Cluster(array_limit=1))
    assert "#SBATCH --array=0-1%1\n" in script(array)


def test_environment_and_setup_come_before_the_command(given):
    cluster = Cluster(env={"A": "it's $6"}, setup=['export SRUN_STATUS="${#A}"'])
    with pytest.raises(subprocess.CalledProcessError) as error:
        given(job(cluster=cluster))
    assert error.value.returncode == len("it's $6")


def test_a_failing_setup_ends_the_job(given):
    assert given(job(cluster=Cluster(setup=["false"])), check=False) == []


def test_processors_and_stage_are_said(given):
    words = given(job(cluster=Cluster(cpus_per_task=3), stage="prune"))
    assert "--cpus-per-task=3" in words
    assert words[-1] == "stage=prune"


def test_a_relative_folder_is_made_absolute_where_the_launch_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"#SBATCH --chdir={tmp_path}/there\n" in script(job(cluster=Cluster(workdir="there")))


def test_a_chains_jobs_have_the_name_of_their_run_and_wait_for_its_other_jobs():
    made = replace(job(stage="prune"), name="name-prune")
    assert "#SBATCH --job-name=name\n#SBATCH --dependency=singleton\n#SBATCH --comment=stage=prune\n" in script(made)


def test_a_stage_of_an_array_waits_for_its_own_runs_alone():
    made = replace(job(stage="prune", tasks=((), ())), name="name-prune")
    assert "#SBATCH --job-name=name-prune\n" in script(made)


def test_percent_signs_of_a_folder_are_no_patterns_of_slurm():
    assert "--output=/100%%/name-%j.out" in script(job(folder="/100%"))


@pytest.mark.parametrize(("asks", "calls"), [(True, 1), (False, 0)])
def test_a_container_is_requeued_from_outside_once_it_asks(given, tmp_path, asks, calls):
    (tmp_path / "bin" / "scontrol").write_text(f'#!/usr/bin/env bash\necho "$@" >> {tmp_path}/calls\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    (tmp_path / "requeue-7").touch()  # left by a start that was killed: it does not count
    (tmp_path / "calls").touch()
    if asks:
        (tmp_path / "bin" / "srun").write_text('#!/usr/bin/env bash\ntouch "$LDC_REQUEUE_FILE"\nexit 138\n')
    cluster = Cluster(container={"kind": "apptainer", "image": "x.sif"})
    given(job(cluster=cluster, folder=tmp_path), check=False)
    assert (tmp_path / "calls").read_text() == "requeue 7\n" * calls
    assert not (tmp_path / "requeue-7").exists()


def test_a_task_of_an_array_is_requeued_from_outside_alone(given, tmp_path):
    (tmp_path / "bin" / "scontrol").write_text(f'#!/usr/bin/env bash\necho "$@" > {tmp_path}/calls\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    (tmp_path / "bin" / "srun").write_text('#!/usr/bin/env bash\ntouch "$LDC_REQUEUE_FILE"\nexit 138\n')
    cluster = Cluster(container={"kind": "apptainer", "image": "x.sif"})
    array = job(cluster=cluster, folder=tmp_path, tasks=(("a=0",), ("a=1",)))
    given(array, check=False, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="1")
    assert (tmp_path / "calls").read_text() == "requeue 7_1\n"


def test_the_status_of_a_container_is_the_jobs(given, tmp_path):
    cluster = Cluster(container={"kind": "apptainer", "image": "x.sif"})
    with pytest.raises(subprocess.CalledProcessError) as error:
        given(job(cluster=cluster, folder=tmp_path), SRUN_STATUS="5")
    assert error.value.returncode == 5
