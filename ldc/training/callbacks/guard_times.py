"""Times what guards a fit against losing work: the callbacks that save, and that agree on stopping."""

import json
import statistics
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from ldc.training.callbacks.checkpoint import Checkpoints
from ldc.training.callbacks.preemption import Preemption
from ldc.training.callbacks.step_times import StepTimes


class GuardTimes(Callback):
    """Times what guards a fit, or takes it away; rank zero writes the figures.

    Args:
        path: of the figures.
        times: of the fit's steps; the first is for warming up.
        guarded: keep what guards the fit.
    """

    def __init__(self, path: Path, times: StepTimes, *, guarded: bool):
        self.path, self.times, self.guarded = path, times, guarded
        self._seconds: dict[type, list[float]] = {Checkpoints: [], Preemption: []}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        guards = [callback for callback in trainer.callbacks if type(callback) in self._seconds]
        if not self.guarded:
            trainer.callbacks = [callback for callback in trainer.callbacks if callback not in guards]
            return
        for guard in guards:
            guard.on_train_batch_end = timed(guard.on_train_batch_end, self._seconds[type(guard)])

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        laps = self.times.stopwatch.laps()[1:]
        polls = self._seconds[Preemption]
        figures = {
            "seconds": sum(laps) / len(laps),
            "total": sum(laps),
            "polling": sum(polls),
            "poll": statistics.median(polls) if polls else 0.0,
            "saving": sum(self._seconds[Checkpoints]),
        }
        self.path.write_text(json.dumps(figures))


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Returns the function that also writes down the seconds of each call."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - start)

    return call
