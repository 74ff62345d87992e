"""Sweep files, and the config of `ldc.sweep`, for a test's folder."""

import pytest
import yaml
from omegaconf import OmegaConf

START = ["${env}", "${interpreter}", "-m", "${program}"]
SETTINGS = [
    "+experiment=bksdm",
    "metric=evaluate.student/kid",
    "~stages.evaluate.settings",
    "+stages.evaluate.settings={student: {model: distil, steps: 1}}",
    "stages.evaluate.picture=[student]",
    "run=${oc.env:WANDB_RUN_ID}",
]
CONTENT = {
    "program": "ldc.train",
    "method": "grid",
    "metric": {"name": "evaluate/student/kid", "goal": "minimize"},
    "parameters": {"stages.distil.optimizer.lr": {"values": [1e-4, 1e-3]}, "seed": {"values": [0, 1]}},
    "command": [*START, *SETTINGS, "${args_no_hyphens}"],
}


@pytest.fixture
def write(tmp_path):
    """Writes a sweep file with these changes; a key that is None is left out."""

    def write_sweep(**changes):
        content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not None}
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write_sweep


@pytest.fixture
def settings(tmp_path):
    """The config of `ldc.sweep` with these changes."""

    def config(**changes):
        paths = {"outputs": str(tmp_path / "outputs"), "cache": None}
        plain = {"count": None, "seed": 0, "overrides": "", "retry": False, "dry_run": False, "paths": paths}
        return OmegaConf.create({**plain, **changes})

    return config
