"""Times the optimizer steps of a fit as they are, with all that a fit does around them."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback

from ldc.profiling.stopwatch import Stopwatch


class StepTimes(Callback):
    """Times whole optimizer steps: reading, transfer, losses, backward pass, checks, update and the other callbacks.

    It ends the fit after its last step. With `max_steps` above `steps` no checkpoint is written then, which is what a
    measurement at full size wants.

    Args:
        steps: how many to time; the first ones pay for what happens once.
        device: where the fit runs.
        between: called after every step, outside its time, so that something else can be timed by turns.
    """

    def __init__(self, steps: int, device: str = "cpu", between: Callable[[], Any] | None = None):
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}.")
        self.steps = steps
        self.stopwatch = Stopwatch(device)
        self.between = between
        self._step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = trainer.global_step
        self.stopwatch.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step or trainer.should_stop:
            return  # a micro-batch of a step that goes on
        self._step = trainer.global_step
        self.stopwatch.stop()
        if self.between is not None:
            self.between()
        if len(self.stopwatch) == self.steps:
            trainer.should_stop = True
        else:
            self.stopwatch.start()
