"""A rank that waits, in this process, and rank zero in another, which is killed for good."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from ldc.artifacts import Artifact, publish
from ldc.runtime import life

ID = "0123456789abcdef"


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "distil"
    folder.mkdir()
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Beats and patience in hundredths of their seconds."""
    for name in ("BEAT_SECONDS", "PATIENCE_SECONDS", "POLL_SECONDS", "SIGHT_SECONDS"):
        monkeypatch.setattr(life, name, getattr(life, name) / 50)


def work(stage, seconds, publishes):
    with life.sign_of_life(stage.parent):
        time.sleep(seconds)
        if publishes:
            publish(Artifact(stage, "student", ID, []))


@pytest.fixture
def rank_zero(stage, quick):
    """`rank_zero(seconds, publishes=...)`: a process that works so long."""
    started = []

    def start(seconds, *, publishes=False):
        process = multiprocessing.get_context("fork").Process(target=work, args=(stage, seconds, publishes))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def wait_until(condition):
    while not condition():
        time.sleep(0.01)


def test_a_rank_waits_for_what_rank_zero_publishes(stage, rank_zero):
    rank_zero(2, publishes=True)  # longer than the patience with one who is silent
    assert life.wait_for_artifact(stage, ID).id == ID


def test_a_rank_stops_soon_after_rank_zero_is_killed(stage, rank_zero):
    process = rank_zero(60)
    wait_until((stage.parent / life.FILE).exists)
    waiting = life.RankZero(stage.parent)
    wait_until(lambda: waiting.loss() is None and waiting.was_seen)
    os.kill(process.pid, signal.SIGKILL)
    start = time.monotonic()
    wait_until(lambda: waiting.loss() is not None)
    assert time.monotonic() - start < 2 * life.PATIENCE_SECONDS
    assert "has given no sign of life for" in waiting.loss()


def test_a_rank_stops_soon_after_rank_zero_ends_without_the_artifact(stage, rank_zero):
    rank_zero(0.5)
    with pytest.raises(TimeoutError, match=f"rank 0 must publish artifact {ID} in .*distil, but it has ended"):
        life.wait_for_artifact(stage, ID)


def test_an_artifact_that_is_seen_late_still_counts(stage, rank_zero):
    process = rank_zero(0.5)
    waiting = threading.Timer(1.2, publish, [Artifact(stage, "student", ID, [])])  # 0.7 s after rank zero's end
    waiting.start()
    assert life.wait_for_artifact(stage, ID).id == ID
    assert not process.is_alive()


def test_a_rank_that_starts_first_waits_until_rank_zero_has_begun(stage, rank_zero):
    (stage.parent / life.FILE).write_text("left behind 3\n")
    start = time.monotonic()
    threading.Timer(0.5, rank_zero, [5]).start()
    life.wait_for_sign(stage.parent)
    assert time.monotonic() - start >= 0.5


def test_the_sign_of_a_run_that_was_killed_is_none_of_rank_zero(stage, quick, monkeypatch):
    (stage.parent / life.FILE).write_text("left behind 3\n")
    monkeypatch.setattr(life, "START_SECONDS", 0.1)
    with pytest.raises(TimeoutError, match="has given no sign of life"):
        life.wait_for_artifact(stage, ID)


def test_only_rank_zero_gives_a_sign_and_takes_it_away(stage, monkeypatch):
    with life.sign_of_life(stage.parent):
        wait_until((stage.parent / life.FILE).exists)
    assert not (stage.parent / life.FILE).exists()
    monkeypatch.setenv("RANK", "1")
    with life.sign_of_life(stage.parent):
        assert not (stage.parent / life.FILE).exists()
