"""Stops a fit that is told to: all ranks at the same step, with its state saved, and its SLURM job queued again."""

import logging
import time
from typing import Any

from lightning.pytorch.callbacks import Checkpoint

from ldc.training.callbacks.checkpoint import Checkpoints
from ldc.training.preemption import Agreement, Cause, Interrupted, Signals, Stopping, release_helpers, requeue
from ldc.training.preemption.time_limit import TimeLimit

log = logging.getLogger(__name__)


class Preemption(Checkpoint):  # of which Lightning keeps the order, after all other callbacks
    """Saves once, asks for the job to be queued again once, and raises Interrupted, at the end of an optimizer step.

    A signal to any rank counts; the time limit is rank zero's to watch. With several ranks they stop one step after the
    signal. Before the first step there is nothing to save, and after the last the checkpoint is there.

    Args:
        checkpoints: what saves the state.
        signals: what notes signals; the fit runs inside it.
        stopping: time limit and requeueing.

    Raises:
        Interrupted: on every rank, with the same exit code.
    """

    def __init__(self, checkpoints: Checkpoints, signals: Signals, stopping: Stopping):
        self.checkpoints, self.signals, self.stopping = checkpoints, signals, stopping
        self._agreement = Agreement(world_size=1)
        self._limit: TimeLimit | None = None
        self._first_step = self._step = 0
        self._time = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._first_step = self._step = trainer.global_step
        self._limit = self.stopping.limit() if trainer.is_global_zero else None
        self._agreement = Agreement(trainer.world_size, getattr(trainer.strategy, "_timeout", None))
        self._stop(trainer, self._agreement.settle(self._own()))
        self._time = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            return  # a micro-batch of a step that goes on
        self._step = trainer.global_step
        now = time.monotonic()
        step_seconds, self._time = now - self._time, now
        steps = 1 if trainer.world_size == 1 else 2  # several ranks take one more before they read the answer
        self._stop(trainer, self._agreement.exchange(self._own(steps * step_seconds)))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop(trainer, self._agreement.settle(self._own()))
        self._agreement.close()

    def _own(self, seconds_to_come: float = 0.0) -> Cause:
        late = self._limit is not None and self._limit.reached(seconds_to_come)
        return max(self.signals.cause, Cause.TIME_LIMIT if late else Cause.NONE)

    def _stop(self, trainer: Any, cause: Cause) -> None:
        if cause is Cause.NONE:
            return
        self.signals.heed()
        if self._step > self._first_step:
            self.checkpoints.save_now(trainer)
        if trainer.is_global_zero:
            kept = "the state is saved" if self._step > self._first_step else "no step was taken"
            log.warning("%s at step %d: %s.", cause, self._step, kept)
            self._requeue(cause)
        release_helpers()
        self._agreement.settle(cause)  # no rank ends before that: launchers kill the others when the first one does
        raise Interrupted(cause.exit_code)

    def _requeue(self, cause: Cause) -> None:
        if not self.stopping.requeues(cause):
            return
        if cause is Cause.TIME_LIMIT and self._step == self._first_step:
            log.error("The job is not queued again: its time limit allows not one step, and so would the next.")
            return
        requeue()
