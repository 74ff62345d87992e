"""Measures a language model on fixed held-out texts while it trains: the curve over tokens and over time."""

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from ldc.data.text import TokenBatch
from ldc.training.callbacks.best_weights import BestWeights
from ldc.training.strategies.resharding import divide_again

FILE = "held_out.csv"
LARGEST = 700.0  # nats whose exponential is still a float
COLUMNS = ("step", "tokens", "seconds", "loss", "perplexity")


class HeldOut(Callback):
    """Writes `held_out.csv`: a row before the first step, every N steps and at the end.

    `tokens` are those that training has read, padding apart, over all ranks; `seconds` those of its steps: without
    measuring, saving and loading. `loss` is the mean over all labels of the batches, in nats. The rows are part of the
    checkpoint, so that a resumed fit goes on with the time and the rows of its checkpoint.

    Args:
        batches: the held-out texts; ranks share them out.
        folder: the stage's folder.
        every_n_steps: optimizer steps from row to row.
        best: is offered the weights at every row; None: nothing is kept.

    Raises:
        ValueError: there is no batch.
    """

    def __init__(
        self,
        batches: Sequence[TokenBatch],
        folder: Path | str,
        every_n_steps: int = 100,
        best: BestWeights | None = None,
    ):
        if not batches or every_n_steps < 1:
            raise ValueError(
                "held-out texts must be at least one batch, and every_n_steps at least 1,"
                f" not {len(batches)} and {every_n_steps}."
            )
        self.batches = list(batches)
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.best = best
        self.rows: list[list[float]] = []
        self.tokens: Any = 0  # of all ranks' finished steps
        self.seconds = 0.0
        self._in_step: Any = 0  # tokens of this rank's micro-batches of the present step
        self._step, self._started = 0, 0.0

    @property
    def path(self) -> Path:
        """The file of the rows."""
        return self.folder / FILE

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = trainer.global_step
        if not self.rows:
            self.measure(trainer, pl_module)
        elif trainer.is_global_zero:
            self.write()  # rows after the checkpoint are made again

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: TokenBatch, batch_idx: int) -> None:
        self._started = time.monotonic()
        self._in_step = self._in_step + batch.mask.sum()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        is_whole = step != self._step
        is_due = is_whole and (step % self.every_n_steps == 0 or step >= trainer.max_steps)
        if is_due and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)  # what is queued belongs to the steps before
        self.seconds += time.monotonic() - self._started
        if is_whole:
            self._step = step
            self.tokens = self.tokens + summed(self._in_step, trainer)
            self._in_step = 0
        if is_due:
            self.measure(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            from ldc.evaluation.language.retraining_curves import save_retraining_curves  # noqa: PLC0415 - draws once

            save_retraining_curves({"held-out texts": self.path}, self.folder / "samples" / "held_out.png")

    def measure(self, trainer: Any, pl_module: Any) -> None:
        """Adds the present step's row, and offers the weights; all ranks must call it."""
        loss, step = self.loss(trainer, pl_module), trainer.global_step
        perplexity = math.exp(min(loss, LARGEST))
        self.rows.append([step, int(self.tokens), round(self.seconds, 3), loss, perplexity])
        if self.best is not None:
            self.best.offer(loss, step, pl_module.bare_student)
        if trainer.is_global_zero:
            self.write()
        for logger in trainer.loggers:
            logger.log_metrics({"val/loss": loss, "val/perplexity": perplexity}, step=step)

    # A compiled student would be compiled again for evaluation, so it is measured as it is.
    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")
    def loss(self, trainer: Any, pl_module: Any) -> float:
        """Returns the mean of -log p over all labels of the batches, in nats, in the fit's precision."""
        student, rank, ranks = pl_module.student, trainer.global_rank, trainer.world_size
        was_training = student.training
        student.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=pl_module.device)
        with trainer.precision_plugin.forward_context():
            # Every rank takes as many batches, since divided weights are gathered by all; what is too many counts 0.
            for place in range(rank, rank + math.ceil(len(self.batches) / ranks) * ranks, ranks):
                batch = self.batches[place % len(self.batches)]
                found = student(*(part.to(pl_module.device) for part in (batch.ids, batch.mask, batch.labels)))
                sums += (place < len(self.batches)) * torch.stack([found.task.double(), found.count.double()])
        student.train(was_training)
        divide_again(student)
        total, count = summed(sums, trainer).tolist()
        if not count:
            raise ValueError("held-out texts must have at least one label, not none.")
        return total / count

    def write(self) -> None:
        """Writes all rows, by rename: a kill leaves the old file or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{FILE}.tmp"
        with temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self.rows)
        temporary.replace(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "tokens": int(self.tokens), "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.tokens = [list(row) for row in state_dict["rows"]], state_dict["tokens"]
        self.seconds = state_dict["seconds"]


def summed(value: Tensor, trainer: Any) -> Tensor:
    """Returns the sum over ranks."""
    if trainer.world_size > 1:
        torch.distributed.all_reduce(value)
    return value
