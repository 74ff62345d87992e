"""Times laps of work on a device, without waiting for the device between them."""

import statistics
import time
from typing import Any, NamedTuple

import torch


class Spread(NamedTuple):
    """Seconds of repeated laps: the median, and the shortest and longest."""

    median: float
    low: float
    high: float


class Stopwatch:
    """Laps from `start()` to `stop()`: wall-clock time, or on CUDA the device's own time from events.

    Args:
        device: where the work runs; any device but CUDA counts as one that works in step with the host.
    """

    def __init__(self, device: str | torch.device = "cpu"):
        self._cuda = torch.device(device).type == "cuda"
        self._starts: list[Any] = []
        self._ends: list[Any] = []

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def is_running(self) -> bool:
        return len(self._starts) > len(self._ends)

    def start(self) -> None:
        """Begins a lap."""
        self._starts.append(self._mark())

    def stop(self) -> None:
        """Ends the lap that was begun last."""
        self._ends.append(self._mark())

    def laps(self) -> list[float]:
        """Returns the seconds of all finished laps; on CUDA it waits for the last one."""
        pairs = zip(self._starts, self._ends, strict=False)  # a lap that was begun and not ended is left out
        if not self._cuda:
            return [end - start for start, end in pairs]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairs]  # milliseconds

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def spread(seconds: list[float]) -> Spread:
    """Returns median, shortest and longest.

    Raises:
        ValueError: there is nothing to sum up.
    """
    if not seconds:
        raise ValueError("seconds must hold at least one lap, not none.")
    return Spread(statistics.median(seconds), min(seconds), max(seconds))
