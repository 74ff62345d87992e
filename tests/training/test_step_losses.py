"""The losses of a step's micro-batches as one: their mean by weight, and a step that weighs nothing."""

import math

import torch

from ldc.training.step_losses import StepLosses


def alone(value, reduce_op):
    """What a strategy's `reduce` is on one rank."""
    assert reduce_op == "mean"
    return value


def added(*pairs):
    losses = StepLosses()
    for value, weight in pairs:
        losses.add({"total": torch.tensor(value)}, None if weight is None else torch.tensor(weight))
    return losses


def test_micro_batches_count_by_their_weights():
    assert added((1.0, 3), (5.0, 1)).mean(alone) == {"total": 2.0}


def test_micro_batches_without_weights_count_alike():
    assert added((1.0, None), (5.0, None)).mean(alone) == {"total": 3.0}


def test_a_step_that_weighs_nothing_has_no_mean_and_raises_nothing():
    """On a GPU the finite check stops such a fit a step later, and names its samples."""
    assert math.isnan(added((0.0, 0)).mean(alone)["total"])


def test_what_was_averaged_is_forgotten():
    losses = added((1.0, 3))
    losses.mean(alone)
    assert losses.mean(alone) == {}
