"""Learning rate schedules in optimizer steps: plain functions of an optimizer.

The factor multiplies the optimizer's learning rate; step s counts from 0, and s = 0 is the first update.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer) -> LambdaLR:
    """Returns the schedule factor(s) = 1."""
    return LambdaLR(optimizer, lambda _: 1.0)


def constant_with_warmup(optimizer: Optimizer, warmup_steps: int) -> LambdaLR:
    """Returns the schedule factor(s) = min(1, (s + 1) / warmup_steps): the first update is small, but not lost."""
    return LambdaLR(optimizer, lambda step: warmup(step, warmup_steps))


def linear(optimizer: Optimizer, total_steps: int, warmup_steps: int = 0) -> LambdaLR:
    """Returns a linear warm-up, then a straight line from 1 down to 0 at `total_steps`.

    Raises:
        ValueError: the warm-up is not shorter than the whole.
    """
    check_warmup(warmup_steps, total_steps)

    def factor(step: int) -> float:
        left = max(0.0, (total_steps - step) / (total_steps - warmup_steps))
        return min(warmup(step, warmup_steps), left)

    return LambdaLR(optimizer, factor)


def cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final_ratio: float = 0.0) -> LambdaLR:
    """Returns a linear warm-up, then half a cosine from 1 down to `final_ratio` at `total_steps`.

    Raises:
        ValueError: the warm-up is not shorter than the whole, or the final ratio is outside [0, 1].
    """
    check_warmup(warmup_steps, total_steps)
    if not 0 <= final_ratio <= 1:
        raise ValueError(f"final_ratio must be in [0, 1], not {final_ratio}.")

    def factor(step: int) -> float:
        done = min(1.0, max(0.0, (step - warmup_steps) / (total_steps - warmup_steps)))
        return warmup(step, warmup_steps) * (final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * done)) / 2)

    return LambdaLR(optimizer, factor)


def check_warmup(warmup_steps: int, total_steps: int) -> None:
    """Raises ValueError where the warm-up is not shorter than the whole."""
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must be in [0, {total_steps}), not {warmup_steps}.")


def warmup(step: int, warmup_steps: int) -> float:
    """Returns (s + 1) / warmup_steps while that is below 1, then 1."""
    return min(1.0, (step + 1) / max(1, warmup_steps))
