"""Every config composes, and fits the signatures of what it builds."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from ldc.runtime.chain import chain
from ldc.runtime.paths import CONF
from ldc.runtime.signatures import check_signatures, targets

COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
TOP = ("data", "teacher", "pruner", "trainer", "logger")
PLACES = {"objective": "stages.distil.objective", "optimizer": "stages.distil.optimizer"}
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())


def composed(config_name, *overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(config_name, overrides=list(overrides))


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def choices():
    yield from ((group, option) for group in TOP for option in options(group))
    yield from ((f"{group}@{place}", option) for group, place in PLACES.items() for option in options(group))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes_and_fits_its_signatures(command):
    check_signatures(composed(command))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_into_stages_that_fit_their_classes(experiment):
    cfg = composed("train", f"+experiment={experiment}")
    assert cfg.name
    assert len(cfg.stages) > 0
    check_signatures(cfg)
    OmegaConf.resolve(cfg)
    for config in cfg.stages.values():
        assert isinstance(instantiate(config, _recursive_=False), get_object(config._target_))


@pytest.mark.parametrize("benchmark", options("benchmark"))
def test_every_benchmark_composes_and_fits_its_signature(benchmark):
    cfg = composed("profile", f"benchmark={benchmark}")
    check_signatures(cfg)
    assert instantiate(cfg.benchmark, _recursive_=False).name == benchmark


@pytest.mark.parametrize(("group", "option"), list(choices()))
def test_every_option_composes_with_lcm_bksdm_and_fits_its_signature(group, option):
    cfg = composed("train", "+experiment=lcm_bksdm", f"{group}={option}", "data.path=PATH", "teacher.path_or_id=PATH")
    check_signatures(cfg)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_target_of_an_experiment_lies_in_this_project(experiment):
    cfg = composed("train", f"+experiment={experiment}")
    OmegaConf.resolve(cfg)
    found = [node["_target_"] for _, node in targets(cfg)]
    assert found
    assert all(target.startswith("ldc.") for target in found)


def test_no_group_hides_a_key_of_a_command():
    """Hydra reads `stage=distil` as a choice of the group `stage`, if there is one, and never as the key."""
    chosen_at_top = {
        "data",
        "teacher",
        "pruner",
        "trainer",
        "logger",
        "stages",
        "ablation",
        "benchmark",
        "cluster",
        "protocol",
        "quality",
    }
    for command in COMMANDS:
        assert set(composed(command)) & set(GROUPS) <= chosen_at_top


def test_the_shipped_experiment_passes_its_own_checks():
    cfg = composed("train", "+experiment=lcm_bksdm")
    OmegaConf.resolve(cfg)
    assert [stage.name for stage in chain(cfg)] == ["encode", "prune", "distil", "few_step", "evaluate"]
