"""Saves the state of a fit at step boundaries: every N steps, at the end, and when the process is told to stop."""

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Checkpoint

from ldc.artifacts import link_or_copy

LAST = "last.ckpt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger(__name__)


class Interrupted(SystemExit):
    """The fit was told to stop, and its state is saved; the exit code is 128 + the signal's number."""


class Checkpoints(Checkpoint):
    """Keeps `last.ckpt`, which is replaced by a rename, and on request a lasting copy of some steps.

    A signal only sets a flag: the save happens after the step, never in the midst of an update. A second SIGINT stops
    at once. Micro-batches of an unfinished step are never saved.

    Args:
        folder: where `last.ckpt` and `step-000100.ckpt` go.
        every_n_steps: optimizer steps from save to save.
        keep_every_n_steps: optimizer steps from lasting copy to lasting copy, each a multiple of `every_n_steps`;
            None keeps only the last.
    """

    def __init__(self, folder: Path | str, every_n_steps: int = 1000, keep_every_n_steps: int | None = None):
        if every_n_steps < 1 or (keep_every_n_steps or every_n_steps) % every_n_steps:
            raise ValueError(
                f"every_n_steps must be positive and divide keep_every_n_steps,"
                f" not {every_n_steps} and {keep_every_n_steps}."
            )
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep_every_n_steps = keep_every_n_steps
        self._step = 0
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def last(self) -> Path:
        return self.folder / LAST

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = trainer.global_step
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
        interrupted = self._signal is not None
        if trainer.world_size > 1:
            interrupted = trainer.strategy.reduce_boolean_decision(interrupted, all=False)
        if interrupted or self._step % self.every_n_steps == 0 or self._step >= trainer.max_steps:
            self.save(trainer)
        if interrupted:
            number = self._signal or signal.SIGTERM
            log.warning("%s at step %d: the state is in %s.", signal.Signals(number).name, self._step, self.last)
            raise Interrupted(128 + number)

    def save(self, trainer: Any) -> None:
        """Writes `last.ckpt`, atomically; every rank must call it."""
        temporary = self.folder / f".{LAST}.tmp"
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            if self.keep_every_n_steps and self._step % self.keep_every_n_steps == 0:
                link_or_copy(temporary, self.folder / f"step-{self._step:06d}.ckpt")
            temporary.replace(self.last)
        trainer.strategy.barrier("Checkpoints.save")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
