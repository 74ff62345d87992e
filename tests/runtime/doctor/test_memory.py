"""What a rank holds by strategy, on sizes that are easy to add up."""

from dataclasses import replace

import numpy as np
import pytest

from ldc.runtime.doctor.memory import BUCKET, SHARDED, Sharding, on_one_rank
from ldc.runtime.doctor.steps import Step
from ldc.training.strategies.registry import NAMES

FORWARD = np.array([[0, 10, 100], [0, 20, 200]])
BACKWARD = np.array([[0, 20, 200], [4000, 20, 150], [8000, 0, 10]])
STEP = Step(
    student=8000,
    trained=8000,
    moments=16000,
    target=8000,
    teacher=4000,
    encoders=0,
    encode=0,
    forward=FORWARD,
    backward=BACKWARD,
    macs=1,
)
BLOCK = 1000


def memory(strategy, ranks=4, step=STEP, **options):
    return on_one_rank(step, Sharding(strategy, ranks, **options), BLOCK)


def test_every_strategy_of_a_fit_has_its_line():
    assert set(SHARDED) == set(NAMES)


@pytest.mark.parametrize(
    ("strategy", "weights", "gradients", "moments", "target", "average"),
    [
        ("ddp", 8000, 8000, 16000, 8000, 8000),
        ("fsdp2", 2000, 2000, 4000, 2000, 2000),
        ("deepspeed_zero1", 8000, 8000, 4000, 8000, 2000),
        ("deepspeed_zero2", 8000, 2000, 4000, 8000, 2000),
        ("deepspeed_zero3", 2000, 2000, 4000, 2000, 2000),
    ],
)
def test_a_strategy_divides_what_it_shards(strategy, weights, gradients, moments, target, average):
    found = memory(strategy, averaging=True)
    assert (found.weights, found.gradients, found.moments) == (weights, gradients, moments)
    assert (found.target, found.average, found.teacher) == (target, average, 4000)


def test_the_teacher_is_divided_where_that_is_asked_for():
    assert memory("fsdp2", shard_teacher=True).teacher == 1000


def test_one_rank_divides_nothing_and_has_no_buffers():
    found = memory("fsdp2", ranks=1)
    assert (found.weights, found.moments, found.buffers) == (8000, 16000, 0)


def test_buffers_are_those_of_the_strategy():
    assert memory("ddp").buffers == 0
    assert memory("fsdp2").buffers == 3 * BLOCK
    assert memory("deepspeed_zero2").buffers == 2000 + 2 * 8000  # its weights' copy, and buckets no larger than these
    assert memory("deepspeed_zero3").buffers == 2000 + 2 * 8000 + 8000
    large = replace(STEP, trained=2 * BUCKET)
    assert memory("deepspeed_zero2", step=large).buffers == 2 * BUCKET / 4 + 2 * BUCKET


def test_the_gradients_before_are_there_during_the_forward_pass():
    # Forward: 20 + 200 beside 8000 of gradients; the backward pass ends with 8000 + 10.
    assert memory("ddp").activations == 220


def test_the_backward_pass_is_the_peak_where_gradients_come_before_activations_go():
    step = replace(STEP, backward=np.array([[8000, 0, 900]]))
    assert memory("ddp", step=step).activations == 900
    assert memory("fsdp2", step=step).activations == 900


def test_accumulation_keeps_all_gradients_through_the_backward_pass():
    step = replace(STEP, backward=np.array([[0, 0, 500]]))
    assert memory("ddp", step=step).activations == 220  # 500 of backward, before any gradient, is less than 8000 + 220
    assert memory("ddp", step=step, accumulate=2).activations == 500


def test_encoding_counts_where_it_takes_more_than_the_step():
    assert memory("ddp", step=replace(STEP, encode=5000)).activations == 5000


def test_all_parts_add_up():
    found = memory("ddp")
    assert found.total == 8000 + 8000 + 16000 + 8000 + 4000 + 220


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="strategy must be one of auto, ddp"):
        memory("fsdp")
