"""Runs a fit from plain arguments: builds the Trainer, resumes where a checkpoint is, and says what came out."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger

from ldc.training.callbacks import Accumulation, Checkpoints, FiniteCheck, NetworkSeed, Progress, WeightAverage
from ldc.training.callbacks.checkpoint import LAST
from ldc.training.checkpoint_io import StreamedCheckpointIO
from ldc.training.csv_log import FILE as CSV_FILE
from ldc.training.module import DistillationModule
from ldc.training.plots import loss_curves
from ldc.training.quiet import quiet_lightning

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
FIXED = {
    "max_epochs": -1,  # steps end a fit, not epochs
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
    "use_distributed_sampler": False,  # the data module shares the stream out among ranks
}
log = logging.getLogger(__name__)


class FitResult(NamedTuple):
    """What came out of a fit."""

    samples_seen: int  # over all runs of this fit and all ranks
    steps: int  # optimizer steps, over all runs
    metrics: dict[str, float]  # the latest log step's `train/<name>`
    checkpoint: Path
    average: WeightAverage | None  # `with average.applied(module.bare_student):` gives the averaged weights


def fit(
    module: DistillationModule,
    datamodule: LightningDataModule,
    *,
    folder: Path | str,
    max_steps: int,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | str | list[int] = "auto",
    strategy: Any = "auto",
    num_nodes: int = 1,
    accumulate_grad_batches: int = 1,
    gradient_clip_val: float | None = None,
    log_every_n_steps: int = 50,
    checkpoint_every_n_steps: int = 1000,
    keep_every_n_steps: int | None = None,
    average: WeightAverage | None = None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    resume: Path | str | None = None,
) -> FitResult:
    """Trains for `max_steps` optimizer steps in all, going on from `folder/last.ckpt` where there is one.

    Args:
        folder: the stage's folder: `last.ckpt`, logs and `samples/` go there.
        accelerator: as devices, strategy and num_nodes, Lightning's; "auto" takes a GPU where there is one.
        gradient_clip_val: largest norm of all gradients; None does not clip.
        log_every_n_steps: optimizer steps, at most `max_steps`.
        keep_every_n_steps: steps whose checkpoints last, beside `last.ckpt`.
        average: keeps a moving average of the weights for publishing.
        progress: show steps, samples per second and the time left on stderr.
        resume: an explicit checkpoint, instead of `folder/last.ckpt`.

    Raises:
        ValueError: the precision is unknown, a checkpoint is missing, damaged or of other networks.
        NonFiniteError: a loss or a gradient is not finite.
        Interrupted: the process was told to stop; the state is saved.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, not {precision!r}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = find_checkpoint(folder, resume)
    checkpoints = Checkpoints(folder, checkpoint_every_n_steps, keep_every_n_steps)
    # The average moves before the grids draw from it, and the checkpoint comes last.
    bar = Progress() if progress else None
    wanted = [Accumulation(), NetworkSeed(), average, FiniteCheck(), *callbacks, bar, checkpoints]
    with quiet_lightning():
        trainer = Trainer(
            **FIXED,
            default_root_dir=folder,
            callbacks=[callback for callback in wanted if callback is not None],
            logger=list(loggers),
            plugins=[StreamedCheckpointIO()],
            max_steps=max_steps,
            log_every_n_steps=max(1, min(log_every_n_steps, max_steps)),
            precision=precision,
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            num_nodes=num_nodes,
            accumulate_grad_batches=accumulate_grad_batches,
            gradient_clip_val=gradient_clip_val,
            enable_progress_bar=progress,
        )
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    module.zero_grad(set_to_none=True)  # publishing takes a copy of the weights: at full size the memory's peak
    if trainer.is_global_zero:
        loss_curves(folder / CSV_FILE, folder / "samples" / "losses.png")
    return FitResult(module.samples_seen, trainer.global_step, module.metrics, checkpoints.last, average)


def find_checkpoint(folder: Path, resume: Path | str | None = None) -> Path | None:
    """Returns the checkpoint to go on from: the explicit one, else `folder/last.ckpt`, else None.

    Raises:
        ValueError: the explicit one does not exist, or the one found is not a whole checkpoint.
    """
    path = folder / LAST if resume is None else Path(resume)
    if not path.is_file():
        if resume is None:
            return None
        raise ValueError(f"resume must be a checkpoint file, but {str(path)!r} does not exist.")
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        log.info("going on from %s at step %d.", path, content["global_step"])
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} must be a whole checkpoint, but reading it failed: {reason}.") from error
    return path
