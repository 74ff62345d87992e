"""Damage to the data in the midst of a run ends in one sentence, and the run goes on exactly once it is repaired."""

import shutil

import numpy as np
import pytest
from lightning.pytorch import Callback

from ldc.data.encoded import Encoded
from ldc.data.index import build_index
from ldc.training.csv_log import read

pytestmark = pytest.mark.integration
PATIENCE = 60.0
STEPS = 18  # two epochs
FROM_DISK = {"memory_limit_mb": 0}


class Before(Callback):
    """Does something before a step, in the process of rank 0."""

    def __init__(self, step, deed):
        self.step, self.deed = step, deed

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step and trainer.is_global_zero:
            self.deed()


@pytest.fixture
def cache(encoded, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(encoded, tmp_path / "cache")


@pytest.fixture
def run(cache, train, forked):
    """Runs a fit; returns the ranks' exit codes, and their last words."""

    def call(folder, world_size=1, **options):
        options = {"steps": STEPS, "rank_patience_seconds": 6.0, **options}
        group = forked(lambda: train(cache, folder, world_size=world_size, **options), folder, world_size)
        codes = group.wait(PATIENCE)
        return codes, [(group.log(rank).strip().splitlines() or [""])[-1] for rank in range(world_size)]

    return call


def truncate(tar):
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size // 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_cut_short_is_named_and_the_repaired_run_goes_on(run, cache, tmp_path, workers):
    tar, folder = cache / "00007.tar", tmp_path / "run"
    whole = tar.read_bytes()
    damage = Before(2, lambda: truncate(tar))

    codes, words = run(folder, workers=workers, data=FROM_DISK, callbacks=[damage])
    assert codes == [1]
    assert words == [f"ValueError: {tar} must not change while it is read, but it has become shorter."]

    tar.write_bytes(whole)
    assert run(folder, workers=workers, data=FROM_DISK)[0] == [0]
    assert run(tmp_path / "straight", data=FROM_DISK)[0] == [0]
    assert read(folder / "metrics.csv") == read(tmp_path / "straight" / "metrics.csv")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_gone_is_named(run, cache, tmp_path, workers):
    aside = tmp_path / "aside"
    damage = Before(2, lambda: shutil.move(cache, aside))

    codes, words = run(tmp_path / "run", workers=workers, data=FROM_DISK, callbacks=[damage])
    assert codes == [1]
    assert words[0].startswith(f"ValueError: {cache}/000")
    assert words[0].endswith(".tar must stay in its place while it is read, but it is gone.")


def test_both_ranks_name_the_shard_that_one_of_them_misses(run, cache, tmp_path):
    damage = Before(2, lambda: truncate(cache / "00007.tar"))

    codes, words = run(tmp_path / "run", world_size=2, data=FROM_DISK, callbacks=[damage])
    assert codes == [1, 1]
    assert all("00007.tar must not change while it is read, but it has become shorter" in word for word in words)
    assert sum("has stopped: ValueError: " in word for word in words) == 1


def spoil(cache, number):
    """Writes NaN into the latents of a shard's first sample; returns its key."""
    index = build_index(Encoded(cache).tars[number])
    offset, size = index.members(0)["moments.npy"]
    with index.tar.open("r+b") as file:
        file.seek(offset + size - 2)
        file.write(np.float16("nan").tobytes())
    return index.keys[0]


def test_a_sample_of_nans_is_named_by_both_ranks_and_again_by_the_resumed_run(run, cache, tmp_path):
    key = spoil(cache, 5)

    codes, words = run(tmp_path / "run", world_size=2)
    assert codes == [1, 1]
    assert set(words) == {words[0]}
    assert words[0].endswith(f"samples with non-finite inputs: {key}.")
    assert run(tmp_path / "run", world_size=2) == (codes, words)
