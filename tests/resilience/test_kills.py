"""A fit that is killed at random moments, inside saves too, ends as the one that never was: the same bits everywhere.

`make test` kills 20 times. 200 kills, some minutes on one core:

    make test ARGS="tests/resilience/test_kills.py -m kills -n 0"
"""

import itertools
import random
import signal
import time
from typing import NamedTuple

import pytest
import torch

from ldc.training.checkpoints import FOLDER
from ldc.training.csv_log import read

STEPS = 20
EVERY = 2  # steps from save to save


class Setting(NamedTuple):
    """How a fit runs."""

    world_size: int
    workers: int
    async_checkpoints: bool = False

    def __str__(self) -> str:
        beside = ", saving beside the training" if self.async_checkpoints else ""
        return f"{self.world_size} ranks, {self.workers} workers{beside}"


GROUPS = pytest.mark.parametrize(
    "setting", [Setting(1, 0), Setting(1, 2, True), Setting(2, 0, True), Setting(2, 2)], ids=str
)

KINDS = {1: ("anywhere", "in a save", "in a save"), 2: ("anywhere", "in a save", "one rank")}  # by world size
BOUNDS = {"timeout_seconds": 20.0, "rank_patience_seconds": 12.0}  # until a rank stops: a group forms, or runs
PATIENCE = 60.0  # seconds within which any process must have ended by itself


@pytest.fixture(scope="module")
def start(encoded, train, forked):
    """Starts the fit of a folder, or goes on with it."""

    def call(folder, setting):
        def work():
            train(encoded, folder, steps=STEPS, every=EVERY, **BOUNDS, **setting._asdict())

        return forked(work, folder, setting.world_size)

    return call


@pytest.fixture(scope="module")
def straight(start, tmp_path_factory):
    """Returns the folder of the fit that nobody disturbs and that reads without workers, and the seconds it takes."""
    done = {}

    def call(world_size):
        if world_size not in done:
            folder, begin = tmp_path_factory.mktemp("straight"), time.monotonic()
            group = start(folder, Setting(world_size, workers=0))
            assert group.wait(PATIENCE) == [0] * world_size, group.log()
            done[world_size] = folder, time.monotonic() - begin
        return done[world_size]

    return call


@pytest.mark.integration
@GROUPS
def test_a_fit_that_is_killed_ends_as_if_nothing_had_happened(start, straight, records, tmp_path, setting):
    campaign(start, straight, records, tmp_path, setting, kills=5)


@pytest.mark.kills
@GROUPS
def test_many_kills_change_nothing(start, straight, records, tmp_path, setting):
    campaign(start, straight, records, tmp_path, setting, kills=50)


def campaign(start, straight, records, folder, setting, kills):
    """Runs fits, each until it is done, until so many kills have been made, and holds each one to the straight fit."""
    rng = random.Random(str(setting))  # noqa: S311
    calm, seconds = straight(setting.world_size)
    done = 0
    for fit in map("fit-{}".format, itertools.count()):
        while True:
            group = start(folder / fit, setting)
            if done == kills or not strike(group, folder / fit, KINDS[setting.world_size][done % 3], rng, seconds):
                break
            group.kill()
            done += 1
        assert group.wait(PATIENCE) == [0] * setting.world_size, group.log()
        compare(folder / fit, calm, records, setting.world_size)
        if done == kills:
            return


def strike(group, folder, kind, rng, seconds):
    """Brings a fit to the moment of its kill, drawn by `rng`; returns False where it was done before."""
    if kind == "in a save":
        return stop_in_a_save(group, folder, rng.randint(1, 4))
    end = time.monotonic() + rng.uniform(0, seconds / 2)
    while group.running() and time.monotonic() < end:
        time.sleep(0.001)
    if not group.running():
        return False
    if kind == "one rank":
        group.kill_rank(rng.randrange(len(group.pids)))
        killed = group.wait(PATIENCE).count(-signal.SIGKILL)
        assert killed <= 1, "the other must stop by itself"
        return killed == 1
    return True


def stop_in_a_save(group, folder, number):
    """Stops the processes inside the save `number` of this life, for a kill; returns False where they ended before."""
    stale, saves, inside = temporaries(folder), 0, False
    while group.running():
        before, inside = inside, bool(temporaries(folder) - stale)
        saves += inside and not before
        if saves >= number and inside:
            group.stop()
            if temporaries(folder) - stale:
                return True
            group.signal(signal.SIGCONT)
        time.sleep(0.0005)
    return False


def temporaries(folder):
    """Returns what a save has begun and not renamed: names with the time at which each was made."""
    found = (folder / FOLDER).glob(".*.tmp")
    return {(path, stamp) for path in found if (stamp := changed(path)) is not None}


def changed(path):
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def compare(folder, calm, records, world_size):
    """Asserts that nothing was lost and nothing repeated, and that the outcome is the straight fit's in every bit."""
    assert read(folder / "metrics.csv") == read(calm / "metrics.csv")
    assert [row["step"] for row in read(calm / "metrics.csv")] == [str(step) for step in range(1, STEPS + 1)]
    for rank in range(world_size):
        expected = {record.step: record.samples for record in records(calm, rank)}
        taken = records(folder, rank)
        assert list(expected) == list(range(STEPS))
        assert all(record.samples == expected[record.step] for record in taken)
        lives = [[record.step for record in life] for _, life in itertools.groupby(taken, lambda record: record.life)]
        assert all(life == list(range(life[0], life[-1] + 1)) for life in lives)
        assert lives[0][0] == 0
        assert lives[-1][-1] == STEPS - 1
        for one, then in itertools.pairwise(lives):
            assert one[-1] - 2 * EVERY <= then[0] <= one[-1] + 1  # at most a save that was cut short is done again
    outcome, wanted = (torch.load(path / "final.pt", weights_only=True) for path in (folder, calm))
    assert not list(differences(outcome, wanted))
    assert not list(folder.rglob("*.tmp"))


def differences(a, b, path="final"):
    """Yields the places at which two trees are not the same in every bit."""
    if isinstance(a, torch.Tensor):
        if not torch.equal(a, b):
            yield path
    elif isinstance(a, dict):
        if a.keys() != b.keys():
            yield path
        for name in a.keys() & b.keys():
            yield from differences(a[name], b[name], f"{path}/{name}")
    elif isinstance(a, list | tuple):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differences(one, other, f"{path}/{place}")
    elif a != b:
        yield path
