"""A really run sweep: `ldc.train` in processes of its own, a tiny teacher, two steps a fit, eight images."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from ldc import sweep
from ldc.runtime import CONF

pytestmark = pytest.mark.integration
START = ["${env}", "${interpreter}", "-m", "${program}"]
TINY = ("max_steps=2", "batch_size=2", "grids.steps=[1]")


@pytest.fixture
def swept(write, tmp_path, teacher_folder, laion):
    """The summary of a grid of two, of which the second has a warm-up longer than its fit."""
    words = ["+experiment=bksdm", f"teacher={teacher_folder}", "data=shards", f"data.path={laion}", "data.size=32"]
    words += [*(f"stages.distil.{setting}" for setting in TINY), "pruner=bksdm_base", "logger=wandb", "reuse=true"]
    words += ["~stages.evaluate.settings", "+stages.evaluate.settings={student: {model: distil, steps: 1}}"]
    words += ["stages.evaluate.picture=[student]", "stages.evaluate.num_images=8", "metric=evaluate.student/kid"]
    path = write(
        parameters={"stages.distil.schedule.warmup_steps": {"values": [0, 100]}},
        command=[*START, *words, "run=${oc.env:WANDB_RUN_ID}", "${args_no_hyphens}"],
    )

    def main(**changes):
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = compose("sweep")
        cfg.sweep, cfg.paths.outputs, cfg.paths.cache = str(path), str(tmp_path / "outputs"), str(tmp_path / "cache")
        for key, value in changes.items():
            cfg[key] = value
        return sweep.main.task(cfg)

    return main


def test_a_sweep_ends_with_its_best_trial_which_wandb_knows_by_the_files_metric(swept, wandb_summary, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    summary = swept()
    assert [row["state"] for row in summary["trials"]] == ["finished", "failed"]
    assert summary["trials"][1]["error"].startswith("stages.distil.schedule.warmup_steps must be")
    assert summary["best"]["values"] == {"stages.distil.schedule.warmup_steps": 0}
    assert Path(summary["picture"]).is_file()
    run = Path(summary["best"]["run"])
    assert json.loads((run / "summary.json").read_text())["metric"] == summary["best"]["metric"]
    assert wandb_summary(run)["evaluate/student/kid"] == pytest.approx(summary["best"]["metric"])
    assert swept(dry_run=True)["trials"] == summary["trials"]
