"""A rank that dies, hangs or fails stops the others within a bounded time, and they say which one it was."""

import os
import re
import signal
import time

import pytest
from lightning.pytorch import Callback

from ldc.training.heartbeat import FOLDER, LostRankError

pytestmark = pytest.mark.integration
PATIENCE = 2.4  # seconds; a sign every 0.2
BOUND = 20.0  # seconds, on a busy machine


class At(Callback):
    """Does something on one rank before a step."""

    def __init__(self, rank, step, deed):
        self.place, self.deed = (rank, step), deed

    def on_train_batch_start(self, trainer, *_):
        if (trainer.global_rank, trainer.global_step) == self.place:
            self.deed()


@pytest.fixture
def group(encoded, train, forked, tmp_path):
    """Starts two ranks; one of them does something before step 5."""

    def call(rank, deed):
        def work():
            callbacks = [At(rank, 5, deed)]
            train(encoded, tmp_path, steps=9, world_size=2, callbacks=callbacks, rank_patience_seconds=PATIENCE)

        return forked(work, tmp_path, 2)

    return call


def last_line(group, rank):
    return group.log(rank).strip().splitlines()[-1]


@pytest.mark.parametrize("dying", [0, 1])
def test_the_others_name_a_rank_that_is_killed(group, dying):
    ranks = group(dying, lambda: os.kill(os.getpid(), signal.SIGKILL))

    codes = ranks.wait(BOUND)
    assert codes[dying] == -signal.SIGKILL
    assert codes[1 - dying] == 1
    assert re.search(
        rf"LostRankError: all ranks must live until the fit ends, but rank {dying} \(\S+, process {ranks.pids[dying]}\)"
        r" has not been heard of for 1 s; the same command goes on from the last checkpoint\.$",
        last_line(ranks, 1 - dying),
    )


def test_a_rank_that_hangs_is_named_and_the_other_ends_inside_its_collective_operation(group):
    ranks = group(1, lambda: os.kill(os.getpid(), signal.SIGSTOP))

    end = time.monotonic() + BOUND
    while 0 not in ranks.codes and time.monotonic() < end:
        ranks.running()
        time.sleep(0.05)
    ranks.kill()
    assert ranks.codes[0] == LostRankError.exit_code
    assert f"rank 1 ({os.uname().nodename}, process {ranks.pids[1]}) has not been heard of for 2 s" in ranks.log(0)


def test_the_others_say_why_a_rank_has_stopped(group):
    def fail():
        raise ValueError("colour must be red, not 'blue'.")

    ranks = group(1, fail)

    assert ranks.wait(BOUND) == [1, 1]
    assert "has stopped: ValueError: colour must be red, not 'blue'; the same command" in last_line(ranks, 0)
    assert last_line(ranks, 1) == "ValueError: colour must be red, not 'blue'."


def test_a_group_goes_on_after_the_loss_of_a_rank_and_leaves_no_signs(group, tmp_path):
    group(1, lambda: os.kill(os.getpid(), signal.SIGKILL)).wait(BOUND)
    assert (tmp_path / FOLDER).is_dir()

    assert group(0, lambda: None).wait(BOUND) == [0, 0]
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("missing", [0, 1])
def test_a_rank_that_never_comes_is_waited_for_no_longer_than_the_timeout(encoded, train, forked, tmp_path, missing):
    def work():
        if os.environ["RANK"] == str(missing):
            os.kill(os.getpid(), signal.SIGKILL)
        train(encoded, tmp_path, steps=9, world_size=2, timeout_seconds=3.0)

    ranks = forked(work, tmp_path, 2)

    assert ranks.wait(BOUND)[1 - missing] == 1
    assert "LostRankError: all ranks must join the group in time, but they have not: " in last_line(ranks, 1 - missing)
