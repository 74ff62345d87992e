"""The one LightningModule of the project: it joins an objective to networks, an optimizer and a checkpoint.

The checkpoint holds the student and the target; the teacher is outside the module tree, so no strategy saves, averages
or trains it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ldc.data.batch import ImageTextBatch
from ldc.objectives import Networks
from ldc.training import state
from ldc.training.networks import check_needs, checkpoint_gradients, freeze, frozen_copy, move_towards, tapped
from ldc.training.publishing import published_student, skeleton
from ldc.training.step_losses import StepLosses
from ldc.training.strategies.micro_batches import is_accumulating
from ldc.training.strategies.parts import is_sharded, local


class DistillationModule(LightningModule):
    """Trains a student by any objective.

    Args:
        objective: `forward(networks, batch) -> {"total": ..., name: ...}`; `needs`, `student_points` and
            `teacher_points` say which networks and activations it uses, `weight(batch)` what its means are over.
        student: the network that is trained, and saved under its own key names.
        teacher: frozen here; it may share the student's weights only as a view without parameters of its own (LoRA).
        optimizer: function of the parameters that require a gradient.
        schedule: function of the optimizer, stepped after every optimizer step; None keeps the rate.
        target_decay: mu of LCM's moving average, target <- mu target + (1 - mu) student; None means no target.
        encode: function from an ImageTextBatch to the batch that the objective takes.
        gradient_checkpointing: recompute the student's activations in the backward pass.
        compile: compile all networks; a mapping holds torch.compile's options.
        channels_last: memory format of all networks.
        teacher_dtype: cast of the teacher ("bfloat16"); None keeps its dtype.

    Attributes:
        samples_seen: samples that all ranks together have been given, over all runs of this fit.
        losses: the latest micro-batch's named losses, detached, on the device.
        metrics: the latest log step's `train/<name>`.
        weights: what this rank's micro-batches of the step have weighed so far, where the objective has a `weight`.
        average: the WeightAverage whose tensors a checkpoint holds, or None.
        published: at the end of a fit that sharded the student, the whole of it with the weights that are published, on
            rank zero; None elsewhere.

    Raises:
        ValueError: the objective needs a network that is not given.
    """

    def __init__(
        self,
        objective: Any,
        student: nn.Module,
        teacher: Any = None,
        *,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        target_decay: float | None = None,
        encode: Callable[[ImageTextBatch], Any] | None = None,
        gradient_checkpointing: bool = False,
        compile: bool | Mapping[str, Any] = False,  # noqa: A002 - the key's name in configs
        channels_last: bool = False,
        teacher_dtype: str | torch.dtype | None = None,
    ):
        super().__init__()
        self.strict_loading = False  # the checkpoint has no teacher: load_state_dict checks what must be there
        check_needs(objective, teacher, target_decay)
        self.objective = objective
        self.make_optimizer, self.make_schedule, self.encode = optimizer, schedule, encode
        self.target_decay = target_decay
        self.average: Any = None
        self._published: list[nn.Module | None] = [None]
        self.samples_seen = 0
        self.losses: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}
        self.weights: list[Tensor] = []
        self._step_losses = StepLosses()
        if gradient_checkpointing:
            checkpoint_gradients(student)
        if isinstance(teacher, nn.Module):
            freeze(teacher, teacher_dtype)
        if channels_last:
            networks: tuple[Any, ...] = (student, teacher)
            for network in filter(None, networks):
                network.to(memory_format=torch.channels_last)
        self.target = None if target_decay is None else frozen_copy(student)
        self.skeleton = [skeleton(student)]  # to gather a sharded student into
        self.student = tapped(student.train(), getattr(objective, "student_points", ()))
        # Lists keep modules out of the module tree: the teacher is not ours to save, the student is in it already.
        self._bare_student = [student]
        self._teacher = [tapped(teacher, getattr(objective, "teacher_points", ()))]
        if compile:
            for network in filter(None, (self.student, self.teacher, self.target)):
                network.compile(**(compile if isinstance(compile, Mapping) else {}))

    @property
    def teacher(self) -> Any:
        return self._teacher[0]

    @property
    def bare_student(self) -> nn.Module:
        """The student without taps: what is saved, published and drawn from."""
        return self._bare_student[0]

    @property
    def published(self) -> nn.Module | None:
        return self._published[0]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self.objective(Networks(self.student, self.teacher, self.target), batch)
        weigh = getattr(self.objective, "weight", None)
        weight = None if weigh is None else weigh(batch)
        self.log_losses(losses, weight)
        if weight is None:
            return losses["total"]
        self.weights.append(weight)
        return losses["total"] * weight  # WeightedMean divides by the whole step's

    def log_losses(self, losses: Mapping[str, Tensor], weight: Tensor | None = None) -> None:
        """Keeps the micro-batch's losses on the device; `write_log` reads those of a log step."""
        self.losses = {name: value.detach() for name, value in losses.items()}
        trainer: Any = self._trainer  # None where a step is taken without a Trainer
        if trainer is not None and (trainer.global_step + 1) % trainer.log_every_n_steps == 0:
            self._step_losses.add(self.losses, weight)

    def write_log(self) -> None:
        """Gives `train/<name>` to the loggers on a log step: the mean over the step's micro-batches and over ranks.

        It runs before the step's checkpoint is saved, so that a resumed fit misses no row. Lightning's `self.log` would
        write only after it.
        """
        means = self._step_losses.mean(self.trainer.strategy.reduce)
        if not means:
            return
        self.metrics = {f"train/{name}": value for name, value in means.items()}
        self.metrics["train/lr"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        for logger in self.loggers:
            logger.log_metrics(self.metrics, step=self.trainer.global_step + 1)
            logger.save()

    def configure_model(self) -> None:
        """Lets a strategy shard the networks, before the optimizer is made of their parameters."""
        prepare = getattr(self.trainer.strategy, "prepare", None)
        if prepare is not None:
            prepare(self)

    def configure_optimizers(self) -> Any:
        optimizer: Any = self.make_optimizer([p for p in self.student.parameters() if p.requires_grad])
        if "mixed" in str(self.trainer.precision) and self.trainer.gradient_clip_val:
            # A fused optimizer would unscale fp16's gradients inside its kernel, too late for clipping; and Lightning
            # refuses to clip them under bf16 too, where nothing is scaled.
            optimizer._step_supports_amp_scaling = False  # noqa: SLF001
        if self.make_schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"},
        }

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if is_accumulating(self.trainer):
            return
        self.update_target()
        self.write_log()

    @torch.no_grad()
    def update_target(self) -> None:
        """Moves the target: parameters <- mu target + (1 - mu) student; buffers stay (Luo et al. 2023, Algorithm 1)."""
        if self.target is None or self.target_decay is None:
            return
        target, student = (map(local, network.parameters()) for network in (self.target, self.bare_student))
        move_towards(target, student, 1 - self.target_decay)

    def on_fit_start(self) -> None:
        for network in (self.teacher, self.encode):
            if hasattr(network, "to"):
                network.to(self.device)

    def on_train_start(self) -> None:
        needed = (self.trainer.max_steps - self.trainer.global_step) * self.trainer.accumulate_grad_batches
        if self.trainer.num_training_batches < needed:
            raise ValueError(
                f"num_batches of the data must be at least {needed}, not {self.trainer.num_training_batches}."
            )

    def on_train_end(self) -> None:
        if any(is_sharded(p) for p in self.bare_student.parameters()):
            with published_student(self, self.average) as student:
                self._published = [None if student is None else student.cpu()]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a batch but for its positions: the host makes draws of them, and must not wait for the device."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved._replace(positions=batch.positions) if hasattr(batch, "positions") else moved

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not isinstance(batch, ImageTextBatch):
            return batch
        if self.encode is None:
            raise ValueError("encode must be given where the data are pixels or captions, not None.")
        return self.encode(batch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.samples_seen += len(batch.positions) * self.trainer.world_size

    @property
    def networks(self) -> dict[str, nn.Module | None]:
        """The networks that a checkpoint holds, by the prefix of their names: no taps, no teacher."""
        return {"student": self.bare_student, "target": self.target}

    def stored(self) -> dict[str, Any]:
        """Returns what this rank has of student, target and average, sharing memory with them."""
        return state.stored(self.networks, {} if self.average is None else self.average.values(self.bare_student))

    def check_stored(self, shapes: Mapping[str, torch.Size]) -> None:
        """Raises ValueError where a checkpoint's tensors are not these networks', whatever `strict` says."""
        state.check_complete(shapes, state.stored_shapes(self.networks, averaged=self.average is not None))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the student's, the target's and the average's tensors, prefixed."""
        return self.stored()

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> None:
        """Copies in what `state_dict` gives.

        Raises:
            ValueError: a tensor is missing, unknown or of another shape, whatever `strict` says.
        """
        self.check_stored({name: value.shape for name, value in state_dict.items()})
        for name, value in self.stored().items():
            value.copy_(state_dict[name])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {"samples_seen": self.samples_seen, "metrics": self.metrics}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.samples_seen, self.metrics = checkpoint["samples_seen"], checkpoint["metrics"]
