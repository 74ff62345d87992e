"""Wall-clock time of a call."""

import statistics
import time
from collections.abc import Callable

import torch


def latency(fn: Callable[[], object], repeats: int = 5) -> float:
    """Returns the median time of `fn()` in seconds, after one call that is not counted.

    Raises:
        ValueError: repeats is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}.")
    fn()
    return statistics.median(_seconds(fn) for _ in range(repeats))


def _seconds(fn: Callable[[], object]) -> float:
    _synchronise()
    start = time.perf_counter()
    fn()
    _synchronise()
    return time.perf_counter() - start


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
