"""Sweep files: what is read of them, every refusal, and that the shipped ones fit today's config."""

import logging

import pytest
import yaml
from hydra import compose, initialize_config_dir
from wandb.sdk.launch.sweeps.utils import create_sweep_command

from ldc.runtime import CONF
from ldc.runtime.arguments import legalise
from ldc.runtime.composing import train_config
from ldc.runtime.run import prepare
from ldc.runtime.sweeps import read_sweep
from ldc.runtime.sweeps.trials import _words

START = ["${env}", "${interpreter}", "-m", "${program}"]
ARGUMENTS = "${args_no_hyphens}"
SHIPPED = sorted((CONF.parent / "launch" / "sweeps").glob("*.yaml"))


def test_a_file_gives_metric_settings_and_parameters(write):
    sweep = read_sweep(write(run_cap=3))
    assert (sweep.name, sweep.program, sweep.method, sweep.run_cap) == ("toy", "ldc.train", "grid", 3)
    assert (sweep.metric, sweep.goal) == ("evaluate.student/kid", "minimize")
    assert sweep.settings[0] == "+experiment=bksdm"
    assert [parameter.name for parameter in sweep.swept] == ["stages.distil.optimizer.lr", "seed"]


def test_early_termination_is_ignored_with_a_warning(write, caplog):
    with caplog.at_level(logging.WARNING):
        read_sweep(write(early_terminate={"type": "hyperband"}))
    assert "every trial runs to its end" in caplog.text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metod": "grid"}, "Key 'metod' of {path} is none of a sweep file; did you mean 'method'."),
        ({"parameters": None}, "{path} must have the key 'parameters', which it lacks."),
        ({"parameters": {}}, "parameters of {path} must be names with their values, not {{}}."),
        ({"parameters": {"seed": {"value": 0}}}, "must vary at least one setting, but each has one value."),
        ({"method": "bayesian"}, "method must be one of grid, random, bayes, not 'bayesian'."),
        ({"program": "train.py"}, "program must be ldc.train or ldc.launch, not 'train.py'."),
        ({"run_cap": 0}, "run_cap must be a whole number from 1, not 0."),
        ({"metric": "kid"}, "metric of {path} must have name and goal, not 'kid'."),
        ({"metric": {"name": "evaluate/student/kid", "goal": "min"}}, "goal of metric must be minimize or maximize"),
        (
            {"metric": {"name": "evaluate/a/kid"}},
            "command of {path} must have metric=evaluate.a/kid, since W&B's metric",
        ),
        ({"command": ["python", "train.py", ARGUMENTS]}, "command of {path} must be [${{env}}, ${{interpreter}}, -m"),
        ({"command": [*START, "seed=1"]}, "command of {path} must have ${{args_no_hyphens}} once"),
        (
            {"command": [*START, "${args}", ARGUMENTS]},
            "must have settings, as KEY=VALUE, behind its program, not '${{args}}'.",
        ),
        ({"command": [*START, "seed", ARGUMENTS]}, "must have settings, as KEY=VALUE, behind its program, not 'seed'."),
    ],
)
def test_what_is_no_sweep_file_is_refused(write, changes, sentence):
    path = write(**changes)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        read_sweep(path)
    assert sentence.format(path=path) in str(error.value)


def test_what_is_no_file_or_no_yaml_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sweep must be a W&B sweep file, but .* does not exist"):
        read_sweep(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="must have the keys command, method, metric, parameters, program, not"):
        read_sweep(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="must be YAML, but reading it failed"):
        read_sweep(tmp_path / "broken.yaml")


def assignments(sweep):
    """A few that give each parameter each of its values, or two draws, once."""
    lists = {p.name: p.values() or [p.draw(0, number) for number in range(2)] for p in sweep.parameters}
    length = max(map(len, lists.values()))
    return [{name: values[place % len(values)] for name, values in lists.items()} for place in range(length)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_wandbs_agent_leaves_a_shipped_files_settings_as_they_are(path):
    command = yaml.safe_load(path.read_text())["command"]
    assert create_sweep_command(list(command)) == command  # it fills in ${envvar:NAME} alone
    macros = [word for word in command if word.startswith("${")]
    assert macros == ["${env}", "${interpreter}", "${program}", ARGUMENTS]
    assert "run=${oc.env:WANDB_RUN_ID}" in command


def test_there_are_shipped_files():
    assert {"embedded", "distillation", "few_step", "distillation_slurm"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_composes_with_all_its_values_and_names_a_figure_of_the_run(path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "agents1d")
    sweep = read_sweep(path)
    command = "launch" if sweep.program == "ldc.launch" else "train"
    for values in assignments(sweep):
        words = [*sweep.settings, *_words(values)]
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = compose(command, overrides=legalise(words, CONF))
        assert cfg.run == "agents1d"  # W&B's trial is the run, whenever it is started
        assert "wandb" in cfg.logger.names
        if command == "launch":
            assert list(cfg.cluster.options) == ["--wait"]
            assert cfg.submit
        words = [word for word in words if word.partition("=")[0].partition(".")[0] not in {"cluster", "submit"}]
        run = prepare(train_config(words))  # refuses a metric of no stage or setting
        assert run.folder.name == "agents1d"
        assert sweep.metric.rpartition("/")[2] == "kid"
