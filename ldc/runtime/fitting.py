"""What every stage that trains shares: the settings of a fit, and how they become a module and a trainer."""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig
from torch.optim import SGD

from ldc.runtime.batching import Shares, shares, world_size
from ldc.runtime.chain import Context
from ldc.runtime.checks import check_whole
from ldc.runtime.ranks import is_restart
from ldc.runtime.stage_settings import StageSettingError, stage_settings
from ldc.training import (
    BestWeights,
    DistillationModule,
    FitResult,
    SampleGrids,
    Stopping,
    WeightAverage,
    fit,
    loggers,
)
from ldc.training.checkpoints import again, checkpoint_at
from ldc.training.strategies import check as check_strategy

_MODULE = ("gradient_checkpointing", "compile", "channels_last", "teacher_dtype")
_CHECKPOINTS = ("keep_checkpoints", "keep_every_n_steps", "async_checkpoints")
_STRATEGY = ("strategy", "precision", "timeout_seconds", "shard_teacher")
_WAITING = "rank_patience_seconds"
_TRAINER = ("accelerator", "devices", "num_nodes", "log_every_n_steps", _WAITING, *_STRATEGY, *_CHECKPOINTS)
_STOPPING = ("time_limit", "stop_before_limit_seconds", "requeue", "requeue_on_sigterm")


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """The settings that all fits have; conf/stages/fit.yaml says what each one means."""

    optimizer: DictConfig
    schedule: DictConfig
    max_steps: int
    batch_size: int
    gradient_clip: float | None
    averaging: float | None
    seed: int
    micro_batch_size: int | None = None
    loader: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    logger: Mapping[str, Any] = field(default_factory=dict)

    def check_settings(self, cfg: DictConfig) -> None:
        """Raises ValueError for settings that cannot be, and for a checkpoint that is not there."""
        if self.max_steps < 1:
            raise StageSettingError(f"max_steps must be at least 1, not {self.max_steps}.")
        _, ranks = self.stopping, world_size(self.trainer)
        with stage_settings():
            shares(self.batch_size, self.micro_batch_size, ranks)
        check_whole(self.trainer, _WAITING)
        check_strategy(**{name: self.trainer[name] for name in _STRATEGY})
        if cfg.resume and cfg.resume != "last" and not is_restart():  # by then it may have made room for later ones
            checkpoint_at(cfg.resume)
        if cfg.resume and cfg.stage is None:
            raise ValueError("resume must come with stage=NAME, the stage whose checkpoint it is.")
        with stage_settings("schedule"):
            self._schedule()(SGD([torch.zeros(1)], lr=1.0))  # a warm-up that is too long is refused here

    @property
    def shares(self) -> Shares:
        """How the batch of a step is divided among devices and micro-batches."""
        return shares(self.batch_size, self.micro_batch_size, world_size(self.trainer))

    @property
    def stopping(self) -> Stopping:
        """When the fit stops before its end."""
        return Stopping(**{name: self.trainer[name] for name in _STOPPING})

    @property
    def num_workers(self) -> int:
        """Processes that read the data."""
        return self.loader.get("num_workers", 0)

    def module(self, objective: Any, student: Any, teacher: Any = None, **options: Any) -> DistillationModule:
        """Returns the module of these settings; `options` are DistillationModule's, such as `encode`."""
        settings = {name: self.trainer[name] for name in _MODULE} | {"optimizer": instantiate(self.optimizer)}
        return DistillationModule(objective, student, teacher, schedule=self._schedule(), **(settings | options))

    def _schedule(self) -> Any:
        """Fills in `total_steps` where the schedule wants it: the fit's length is given once."""
        if "total_steps" in inspect.signature(get_method(self.schedule["_target_"])).parameters:
            return instantiate(self.schedule, _partial_=True, total_steps=self.max_steps)
        return instantiate(self.schedule, _partial_=True)

    def fit(
        self,
        context: Context,
        module: DistillationModule,
        data: Any,
        grids: Sequence[SampleGrids] = (),
        *,
        callbacks: Sequence[Any] = (),
        best: BestWeights | None = None,
    ) -> FitResult:
        """Trains for `max_steps` in all, going on from the stage's checkpoint where there is one.

        `best` is published instead of the average; `callbacks` come after the grids.
        """
        average = WeightAverage(self.averaging) if self.averaging is not None else best
        for callback in grids:
            callback.average = average
        resume = self.checkpoint["resume"] if context.cfg.stage == context.name else None
        run_name = f"{context.cfg.name}-{context.folder.parent.name}"
        return fit(
            module,
            data,
            folder=context.folder,
            max_steps=self.max_steps,
            accumulate_grad_batches=self.shares.accumulate,
            gradient_clip_val=self.gradient_clip,
            checkpoint_every_n_steps=self.checkpoint["every"],
            average=average,
            loggers=loggers(self.logger["names"], context.folder, run_name, self.logger["project"]),
            callbacks=[*grids, *callbacks],
            resume=again(context.folder, resume) if is_restart() else resume,
            stopping=self.stopping,
            **{name: self.trainer[name] for name in _TRAINER},
        )


def published(result: FitResult, network: Any) -> AbstractContextManager[Any]:
    """Gives, on rank zero, the network with the weights that are published: the fit's average, where there is one.

    It is the fit's own network, lent the average inside `with`, or, where a strategy had divided that among ranks, the
    whole that was gathered of it.
    """
    if result.student is not None:
        return contextlib.nullcontext(result.student)
    return result.average.applied(network) if result.average is not None else contextlib.nullcontext(network)


def which_weights(result: FitResult) -> str:
    """Returns what an artifact says of its weights."""
    return "online" if result.average is None else result.average.kind
