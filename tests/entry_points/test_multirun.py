"""Hydra's multirun: a grid of `ldc.train` without an account or an agent."""

import json

from ldc.train import main


def test_a_grid_prints_a_line_a_job_each_with_a_run_of_its_own(command, tmp_path):
    grid = ["-m", "+experiment=bksdm", "stages.distil.optimizer.lr=1e-4,3e-4"]
    said = command(main, *grid, "dry_run=true", f"paths.outputs={tmp_path}")
    assert said.code == 0, said.err
    runs = [json.loads(line)["run"] for line in said.out]
    assert len(runs) == len(set(runs)) == 2
    assert all(run.startswith(f"{tmp_path}/bksdm/") for run in runs)
