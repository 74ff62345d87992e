import multiprocessing
import os
import time

import pytest
from omegaconf import OmegaConf

from ldc.runtime.composing import train_config
from ldc.runtime.life import sign_of_life
from ldc.runtime.run import Run, prepare


def begin_anew(run):
    """What rank zero does, some time after the others."""
    os.environ["RANK"] = "0"
    time.sleep(0.5)
    run.open()
    with sign_of_life(run.folder):
        time.sleep(30)


def test_other_ranks_wait_until_rank_zero_has_removed_what_is_made_anew(tmp_path, monkeypatch):
    stale = tmp_path / "run" / "distil"
    stale.mkdir(parents=True)
    run = Run(OmegaConf.create({"fresh": True, "stage": None}), tmp_path / "run")
    monkeypatch.setenv("RANK", "1")
    rank_zero = multiprocessing.get_context("fork").Process(target=begin_anew, args=(run,))
    rank_zero.start()
    try:
        run.open()
        assert not stale.exists()
    finally:
        rank_zero.kill()
        rank_zero.join()


@pytest.mark.parametrize("count", ["SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"])
@pytest.mark.parametrize(("restarts", "fresh"), [(None, True), ("0", True), ("1", False)])
def test_a_job_that_is_started_again_goes_on_and_does_not_start_anew(monkeypatch, count, restarts, fresh):
    monkeypatch.delenv(count, raising=False)
    if restarts is not None:
        monkeypatch.setenv(count, restarts)
    assert prepare(train_config(["+experiment=bksdm", "fresh=true"])).cfg.fresh is fresh
