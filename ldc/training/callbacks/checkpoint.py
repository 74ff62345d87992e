"""Saves the state of a fit at step boundaries: every N steps, at the end, and when it is asked to."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Checkpoint

from ldc.training.checkpoints import Saver, Store
from ldc.training.checkpoints.agreement import gathered
from ldc.training.checkpoints.store import own_name


class Checkpoints(Checkpoint):
    """Saves into `folder/checkpoints/` every N steps and at the end; micro-batches of an unfinished step never.

    Args:
        folder: the stage's folder.
        every_n_steps: optimizer steps from save to save.
        keep_last: number of newest checkpoints that stay.
        keep_every_n_steps: optimizer steps from lasting checkpoint to lasting checkpoint, a multiple of
            `every_n_steps`; None keeps no others.
        asynchronous: write beside the training what was copied at the step boundary.
        resumed: the checkpoint that this rank goes on from.

    Raises:
        ValueError: ranks go on from different checkpoints, as where a node sees an older state of the folder.
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
        resumed: Path | None = None,
    ):
        if every_n_steps < 1 or (keep_every_n_steps or every_n_steps) % every_n_steps:
            raise ValueError(
                f"every_n_steps must be positive and divide keep_every_n_steps,"
                f" not {every_n_steps} and {keep_every_n_steps}."
            )
        self.every_n_steps = every_n_steps
        self.store = Store(folder, keep_last, keep_every_n_steps)
        self.saver = Saver(self.store, asynchronous=asynchronous)
        self.resumed = resumed
        self._step = 0  # the last one whose end was seen
        self._saved: int | None = None

    @property
    def last(self) -> Path | None:
        """The folder of the checkpoint that this fit saved last, else of the one that it went on from."""
        if self._saved is not None:
            return self.store.path(self._saved)
        if self.resumed is None or self.resumed.exists():
            return self.resumed
        return own_name(self.resumed)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        found = gathered(trainer, None if self.resumed is None else self.resumed.name)
        others = [rank for rank, name in enumerate(found) if name != found[0]]
        if others:
            raise ValueError(
                f"all ranks must go on from the same checkpoint, but in {self.store.folder} rank 0 found {found[0]}"
                f" and rank {others[0]} {found[others[0]]}: do all nodes see that folder as it is?"
            )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.saver.check(trainer)
        self._step = trainer.global_step
        if trainer.is_global_zero:
            self.store.clear_leftovers()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            return  # a micro-batch of a step that goes on
        self._step = trainer.global_step
        self.saver.settle(trainer, wait=False)
        if self._step % self.every_n_steps == 0 or self._step >= trainer.max_steps:
            self._save(trainer, wait=False)

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
        self.saver.settle(trainer, wait=True)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.saver.abandon()
