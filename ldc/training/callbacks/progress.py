"""Progress of a fit on stderr: steps, samples per second, time left, and the loss of the latest log step."""

import logging
import sys
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress(ProgressBar):
    """A bar on a terminal, and a logged line now and then elsewhere. It never reads from the device between log steps.

    Args:
        interval: seconds from line to line where stderr is not a terminal.
    """

    def __init__(self, interval: float = 30.0):
        super().__init__()
        self.interval = interval
        self._enabled = True
        self._bar: Any = None
        self._step = self._samples = 0
        self._first_step = self._reported_step = 0
        self._start = self._reported = 0.0
        self._loss = ""

    def disable(self) -> None:  # Lightning calls it on all ranks but the first
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = self._first_step = self._reported_step = trainer.global_step
        self._samples = pl_module.samples_seen
        self._start = self._reported = time.monotonic()
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=trainer.max_steps, initial=self._step, unit="step", file=sys.stderr, dynamic_ncols=True
            )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._enabled or trainer.global_step == self._step:
            return
        steps, self._step = trainer.global_step - self._step, trainer.global_step
        if pl_module.metrics:
            self._loss = f", loss {pl_module.metrics['train/total']:.4g}"
        if self._bar is not None:
            self._bar.set_postfix_str(self._rate(pl_module.samples_seen) + self._loss, refresh=False)
            self._bar.update(steps)
        elif time.monotonic() - self._reported > self.interval:
            self._report(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._enabled and self._step > self._reported_step:  # long work behind the last step may have said it
            self._report(trainer, pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._bar is not None:
            self._bar.close()

    def _rate(self, samples_seen: int) -> str:
        return f"{(samples_seen - self._samples) / max(time.monotonic() - self._start, 1e-9):.1f} samples/s"

    def _report(self, trainer: Any, pl_module: Any) -> None:
        self._reported, self._reported_step = time.monotonic(), self._step
        seconds_per_step = (self._reported - self._start) / (self._step - self._first_step)
        left = timedelta(seconds=round(seconds_per_step * (trainer.max_steps - self._step)))
        rate = self._rate(pl_module.samples_seen)
        log.info("step %d/%d, %s, %s left%s", self._step, trainer.max_steps, rate, left, self._loss)
