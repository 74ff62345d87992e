"""Stops a run at the first non-finite loss or gradient, without waiting for the device at every step.

A flag on the device leaves the bad update out, as a gradient scaler does. Flag, losses and samples are copied to the
host asynchronously and read one step later, when the copy is done; then the run stops with the weights of the last good
step. A checkpoint waits for the flag, so none is saved after a bad step.
"""

import itertools
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.optim import Optimizer

from ldc.training.strategies.micro_batches import is_accumulating
from ldc.training.strategies.parts import local

MAX_KEYS = 16  # named in the message


class NonFiniteError(ValueError):
    """A loss or a gradient is not finite."""


class MicroBatch(NamedTuple):
    """What is known of one micro-batch before its backward pass."""

    names: list[str]  # of the losses
    keys: list[str]  # of the samples
    losses: Tensor  # (names,) bool: finite
    samples: Tensor  # (keys,) bool: all inputs finite


class Pending(NamedTuple):
    """Flags of one optimizer step on their way to the host."""

    step: int
    micro_batches: list[MicroBatch]
    flags: Tensor  # 1 for each micro-batch's losses and samples, and the last one for the gradients
    copied: Any  # torch.cuda.Event, or None where the copy is done


class Finding(NamedTuple):
    """What one rank found in a bad step."""

    names: list[str]  # of losses that are not finite
    culprits: list[str]  # samples with non-finite inputs
    suspects: list[str]  # samples of micro-batches with such losses
    keys: list[str]  # all samples of the step


class FiniteCheck(Callback):
    """Leaves out the update of a step whose losses or gradients are not finite, and stops the run a step later.

    Fused optimizers are masked on the device. Others cannot be, so their flag is read before the step. Under fp16 the
    gradient scaler leaves the step out, and overflowing gradients alone are its business, not an error.

    Raises:
        NonFiniteError: naming losses, step and samples, those of all ranks on every rank.
    """

    def __init__(self) -> None:
        self._batch: Any = None
        self._micro_batches: list[MicroBatch] = []
        self._pending: Pending | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._batch = batch

    @torch.no_grad()
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        losses = torch.isfinite(torch.stack([value.float() for value in pl_module.losses.values()]))
        keys = list(self._batch.keys)
        samples = finite_samples(self._batch, keys, losses.device)
        self._micro_batches.append(MicroBatch(list(pl_module.losses), keys, losses, samples))
        self._batch = None

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        if is_accumulating(trainer):
            return
        self.read()  # the flags of the step before: this step is queued already, so nothing waits
        micro_batches, self._micro_batches = self._micro_batches, []
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        own = [] if scaled else own_gradients(trainer.strategy, optimizer)
        gradients = finite_gradients(own) if own else torch.ones_like(micro_batches[0].losses[:1])
        bad = ~torch.cat([*(m.losses for m in micro_batches), gradients]).all()
        if trainer.world_size > 1:  # all ranks leave the same step out
            bad = bad.float()
            torch.distributed.all_reduce(bad, op=torch.distributed.ReduceOp.MAX)
        late = scaled or mask(getattr(optimizer, "optimizer", optimizer), bad.float())  # DeepSpeed wraps torch's
        flags = torch.cat([*(torch.cat([m.losses, m.samples]) for m in micro_batches), gradients, ~bad.bool().view(1)])
        self._pending = Pending(trainer.global_step + 1, micro_batches, *to_host(flags))
        if not late:
            self.read()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.read()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.read()

    def read(self) -> None:
        """Reads the flags that are on their way; raises NonFiniteError where one says so."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if pending.copied is not None:
            pending.copied.synchronize()
        flags = pending.flags.tolist()
        if not flags[-1]:
            raise NonFiniteError(message(pending.step, of_all_ranks(found(pending, flags))))


def finite_samples(batch: Any, keys: list[str], device: torch.device) -> Tensor:
    """Returns which samples of a batch on the device have only finite inputs, (B,) bool; all without such inputs."""
    inputs = [x for x in batch if isinstance(x, Tensor) and x.is_floating_point() and x.shape[:1] == (len(keys),)]
    finite = [torch.isfinite(x).flatten(1).all(1) for x in inputs]
    return torch.stack(finite).all(0) if finite else torch.ones(len(keys), dtype=torch.bool, device=device)


def own_gradients(strategy: Any, optimizer: Optimizer) -> list[Tensor]:
    """Returns this rank's part of the gradients, which DeepSpeed keeps beside the parameters."""
    if hasattr(strategy, "gradients"):
        return strategy.gradients()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [local(p.grad) for p in parameters if p.grad is not None]


def finite_gradients(gradients: list[Tensor]) -> Tensor:
    """Returns whether the norm of all gradients is finite, (1,) bool."""
    return torch.isfinite(torch.nn.utils.get_total_norm(gradients)).view(1)


def mask(optimizer: Any, bad: Tensor) -> bool:
    """Tells a fused optimizer on the device to leave out the step where `bad` is 1; returns whether it can."""
    if not optimizer.defaults.get("fused"):
        return False
    optimizer.found_inf = bad  # what torch.amp.GradScaler sets
    return True


def to_host(flags: Tensor) -> tuple[Tensor, Any]:
    """Starts the copy of device flags to the host; returns the host's tensor and the event that ends the copy."""
    if flags.device.type != "cuda":
        return flags.cpu(), None
    host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


def found(pending: Pending, flags: list[bool]) -> Finding:
    """Returns what this rank's flags tell."""
    names: dict[str, None] = {}
    culprits, suspects, keys = [], [], []
    remaining = iter(flags)
    for micro_batch in pending.micro_batches:
        bad_losses = [name for name in micro_batch.names if not next(remaining)]
        culprits += [key for key in micro_batch.keys if not next(remaining)]
        names |= dict.fromkeys(bad_losses)
        suspects += micro_batch.keys if bad_losses else []
        keys += micro_batch.keys
    return Finding(list(names), culprits, suspects, keys)


def of_all_ranks(finding: Finding) -> list[Finding]:
    """Returns every rank's finding: all ranks know of a bad step at the same time, and stop at the same place."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return [finding]
    findings = [finding] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(findings, finding)
    return findings


def message(step: int, findings: list[Finding]) -> str:
    """Returns the sentence that names losses, step and samples: those whose inputs are bad, else the micro-batch's."""
    names, culprits, suspects, keys = (
        list(dict.fromkeys(itertools.chain(*fields))) for fields in zip(*findings, strict=True)
    )
    named = culprits or suspects or keys
    which = ", ".join(named[:MAX_KEYS]) + (f" and {len(named) - MAX_KEYS} more" if len(named) > MAX_KEYS else "")
    what = ", ".join(names) or "the gradients"
    cause = "with non-finite inputs" if culprits else "in the batch"
    return f"Losses and gradients must be finite, but at step {step} {what} were not; samples {cause}: {which}."
