"""Saves the state of a fit at step boundaries: every N steps, at the end, and when the process is told to stop."""

import logging
import signal
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Checkpoint

from ldc.training.checkpoints import Saver, Store

SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger(__name__)


class Interrupted(SystemExit):
    """The fit was told to stop, and its state is saved; the exit code is 128 + the signal's number."""


class Checkpoints(Checkpoint):
    """Saves into `folder/checkpoints/` every N steps and at the end; micro-batches of an unfinished step never.

    A signal only sets a flag: the save happens after the step, never in the midst of an update. A second SIGINT stops
    at once.

    Args:
        folder: the stage's folder.
        every_n_steps: optimizer steps from save to save.
        keep_last: number of newest checkpoints that stay.
        keep_every_n_steps: optimizer steps from lasting checkpoint to lasting checkpoint, a multiple of
            `every_n_steps`; None keeps no others.
        asynchronous: write beside the training what was copied at the step boundary.

    Raises:
        SaveError: a checkpoint could not be saved. It is raised at that step, or, where it was written beside the
            training, at the next step boundary after the error.
    """

    def __init__(
        self,
        folder: Path | str,
        every_n_steps: int = 1000,
        keep_last: int = 2,
        keep_every_n_steps: int | None = None,
        *,
        asynchronous: bool = False,
    ):
        if every_n_steps < 1 or (keep_every_n_steps or every_n_steps) % every_n_steps:
            raise ValueError(
                f"every_n_steps must be positive and divide keep_every_n_steps,"
                f" not {every_n_steps} and {keep_every_n_steps}."
            )
        self.every_n_steps = every_n_steps
        self.store = Store(folder, keep_last, keep_every_n_steps)
        self.saver = Saver(self.store, asynchronous=asynchronous)
        self._step = 0  # the last one whose end was seen
        self._saved: int | None = None
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def last(self) -> Path | None:
        """The folder of the checkpoint that this fit saved last."""
        return None if self._saved is None else self.store.path(self._saved)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.saver.check(trainer)
        self._step = trainer.global_step
        if trainer.is_global_zero:
            self.store.clear_leftovers()
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            return  # a micro-batch of a step that goes on
        self._step = trainer.global_step
        self.saver.settle(trainer, wait=False)
        if self._step % self.every_n_steps == 0 or self._step >= trainer.max_steps:
            self._save(trainer, wait=False)
        interrupted = self._signal is not None
        if trainer.world_size > 1:
            interrupted = trainer.strategy.reduce_boolean_decision(interrupted, all=False)
        if interrupted:
            self.save_now(trainer)
            number = self._signal or signal.SIGTERM
            log.warning("%s at step %d: the state is saved.", signal.Signals(number).name, self._step)
            raise Interrupted(128 + number)

    def save_now(self, trainer: Any) -> None:
        """Saves the present step unless that is done; on return it is on the disk. Every rank must call it.

        Raises:
            SaveError: on all ranks, where it could not be saved.
        """
        if self._saved != trainer.global_step:
            self._save(trainer, wait=True)
        self.saver.settle(trainer, wait=True)

    def _save(self, trainer: Any, *, wait: bool) -> None:
        self.saver.save(trainer, wait=wait)
        self._saved = trainer.global_step

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._restore_handlers()
        self.saver.settle(trainer, wait=True)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._restore_handlers()
        self.saver.abandon()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
