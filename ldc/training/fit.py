"""Runs a fit from plain arguments: builds the Trainer, resumes where a checkpoint is, and says what came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import nn

from ldc.training import strategies
from ldc.training.callbacks import (
    Accumulation,
    Checkpoints,
    FiniteCheck,
    Heartbeat,
    NetworkSeed,
    Preemption,
    Progress,
    WeightAverage,
    WeightedMean,
)
from ldc.training.checkpoints import STATE, StreamedCheckpointIO, find_checkpoint
from ldc.training.csv_log import FILE as CSV_FILE
from ldc.training.module import DistillationModule
from ldc.training.plots import loss_curves
from ldc.training.preemption import Signals, Stopping, take_over_signals
from ldc.training.quiet import quiet_lightning
from ldc.training.whole_loop import never_skip

FIXED = {
    "max_epochs": -1,  # steps end a fit, not epochs
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
    "use_distributed_sampler": False,  # the data module shares the stream out among ranks
}


class FitResult(NamedTuple):
    """What came out of a fit."""

    samples_seen: int  # over all runs of this fit and all ranks
    steps: int  # optimizer steps, over all runs
    metrics: dict[str, float]  # the latest log step's `train/<name>`
    checkpoint: Path | None  # the folder of the last one, `folder/checkpoints/step-00000100`
    average: WeightAverage | None  # `with average.applied(module.bare_student):` gives the averaged weights
    student: nn.Module | None = None  # on rank zero, where ranks had parts of it: the whole, as it is published


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
    timeout_seconds: float = strategies.TIMEOUT_SECONDS,
    rank_patience_seconds: float = 60.0,
    shard_teacher: bool = False,
    accumulate_grad_batches: int = 1,
    gradient_clip_val: float | None = None,
    log_every_n_steps: int = 50,
    checkpoint_every_n_steps: int = 1000,
    keep_checkpoints: int = 2,
    keep_every_n_steps: int | None = None,
    async_checkpoints: bool = False,
    average: WeightAverage | None = None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    resume: Path | str | None = None,
    stopping: Stopping | None = None,
) -> FitResult:
    """Trains for `max_steps` optimizer steps in all, going on from `folder/checkpoints/` where it holds one.

    Args:
        folder: the stage's folder: `checkpoints/`, logs and `samples/` go there.
        accelerator: as devices and num_nodes, Lightning's; "auto" takes a GPU where there is one.
        strategy: auto, ddp, fsdp2, deepspeed_zero1, 2 or 3, or an object of Lightning's.
        timeout_seconds: how long a rank waits for the others before it gives up.
        rank_patience_seconds: how long a rank may give no sign of life before the others take it for lost.
        shard_teacher: divide the teacher among the ranks, too; only fsdp2 can.
        gradient_clip_val: largest norm of all gradients; None does not clip.
        log_every_n_steps: optimizer steps, at most `max_steps`.
        keep_checkpoints: number of newest checkpoints that stay.
        keep_every_n_steps: steps whose checkpoints stay beside them; None: no others.
        async_checkpoints: write checkpoints beside the training, from a copy in host memory.
        average: keeps a moving average of the weights for publishing.
        progress: show steps, samples per second and the time left on stderr.
        resume: None: the newest whole checkpoint, where there is one; "last": the same, and there must be one; else the
            path of a checkpoint.
        stopping: time limit, and when a SLURM job is queued again; None: no limit but the job's, and the defaults.

    Raises:
        ValueError: the precision is unknown, a checkpoint is missing, damaged or of other networks.
        NonFiniteError: a loss or a gradient is not finite.
        LostRankError: another rank has died or stopped.
        SaveError: a checkpoint could not be saved, as on a full disk.
        Interrupted: a signal or the time limit stopped it; the state is saved.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = find_checkpoint(folder, resume)
    module.average = average
    checkpoints = Checkpoints(
        folder,
        checkpoint_every_n_steps,
        keep_checkpoints,
        keep_every_n_steps,
        asynchronous=async_checkpoints,
        resumed=checkpoint,
    )
    # Gradients are weighed before they are checked, the average moves before the grids draw, the checkpoint comes last.
    bar, signals = Progress() if progress else None, Signals()
    heartbeat = Heartbeat(folder, rank_patience_seconds)
    wanted = [Accumulation(), NetworkSeed(), average, WeightedMean(), FiniteCheck(), *callbacks, bar, heartbeat]
    wanted += [checkpoints, Preemption(checkpoints, signals, stopping or Stopping())]
    with signals, quiet_lightning(), heartbeat.naming():
        trainer = Trainer(
            **FIXED,
            default_root_dir=folder,
            callbacks=[callback for callback in wanted if callback is not None],
            logger=list(loggers),
            plugins=[StreamedCheckpointIO()],
            max_steps=max_steps,
            log_every_n_steps=max(1, min(log_every_n_steps, max_steps)),
            precision=precision,  # pyrefly: ignore  strategies.build has checked it
            accelerator=accelerator,
            devices=devices,
            strategy=strategies.build(
                strategy,
                accelerator=accelerator,
                devices=devices,
                num_nodes=num_nodes,
                precision=precision,
                timeout_seconds=timeout_seconds,
                shard_teacher=shard_teacher,
            ),
            num_nodes=num_nodes,
            accumulate_grad_batches=accumulate_grad_batches,
            gradient_clip_val=gradient_clip_val,
            enable_progress_bar=progress,
        )
        take_over_signals(trainer)
        never_skip(trainer)
        state = checkpoint and checkpoint / STATE
        strategies.check_form(trainer.strategy, state)
        trainer.fit(module, datamodule=datamodule, ckpt_path=state, weights_only=True)
    module.zero_grad(set_to_none=True)  # publishing takes a copy of the weights: at full size the memory's peak
    if trainer.is_global_zero:
        loss_curves(folder / CSV_FILE, folder / "samples" / "losses.png")
    last, steps = checkpoints.last, trainer.global_step
    return FitResult(module.samples_seen, steps, module.metrics, last, average, module.published)
