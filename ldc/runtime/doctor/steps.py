"""One micro-batch of a fit, taken on fake tensors: what it holds, what comes and goes, how much it computes.

Legend: B micro-batch, C latent channels, h x w latent size, S pixel size, L tokens, D text width.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from torch import Tensor

from ldc.data.batch import LatentBatch
from ldc.data.text import TokenBatch
from ldc.objectives import Draws, Networks
from ldc.objectives.lora import AdaptersOff
from ldc.profiling.ledger import ACTIVATIONS, GRADIENTS, HELD, Ledger, cuda_norms, simulated, stand_in
from ldc.runtime.doctor.language import LanguageNetworks
from ldc.runtime.doctor.networks import FitNetworks
from ldc.runtime.online import CHUNK
from ldc.training.networks import floating_dtype, tapped

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class How:
    """How a micro-batch is computed, as a `trainer` says it."""

    batch_size: int
    precision: str = "32-true"
    teacher_dtype: str | None = None
    gradient_checkpointing: bool = False
    cuda: bool = True  # its autocast keeps more than the CPU's


@dataclass(frozen=True)
class Step:
    """Bytes and multiply-accumulates of one micro-batch on one device, nothing sharded.

    `forward` and `backward` are what comes and goes while they run, (n, 3): gradients, casts of weights, activations.
    """

    student: int  # its weights
    trained: int  # those of them that the optimizer moves
    moments: int
    target: int
    teacher: int  # 0 where it is the student with its adapters off
    encoders: int  # VAE and text encoder, where they run while training
    encode: int  # activations of these
    forward: np.ndarray
    backward: np.ndarray
    macs: int


@dataclass(frozen=True)
class Encoding:
    """What is encoded while training."""

    pixels: bool
    captions: bool

    def __bool__(self) -> bool:
        return self.pixels or self.captions


def simulate(networks: FitNetworks, config: Mapping[str, Any], encoding: Encoding, size: int, how: How) -> Step:
    """Returns what a micro-batch of a fit takes.

    Args:
        networks: on the meta device.
        config: the fit's `optimizer` and `target_decay`.
        encoding: what is encoded while training.
        size: S.
        how: batch size and settings.
    """
    with torch.random.fork_rng(devices=[]), simulated() as ledger:
        nets = _networks(networks, config["target_decay"] is not None, how)
        encoders = [stand_in(part) for part in networks.encoders()] if encoding else []
        ledger.follow(nets.student.parameters())
        ledger.kind = ACTIVATIONS
        batch = _batch(networks, size, how.batch_size, encoders, encoding)

        def losses() -> Mapping[str, Tensor]:
            return networks.objective.losses(nets, batch, _draws(batch))

        return _taken(ledger, nets, losses, config, how, encoders)


def simulate_language(networks: LanguageNetworks, config: Mapping[str, Any], how: How) -> Step:
    """Returns what a micro-batch of texts takes, all of them of the fit's `length`.

    Args:
        networks: on the meta device.
        config: the fit's `optimizer` and `length`.
        how: batch size and settings.
    """
    with torch.random.fork_rng(devices=[]), simulated() as ledger:
        student: Any = stand_in(networks.student).train()
        if how.gradient_checkpointing:
            student.enable_gradient_checkpointing()
        dtype = None if how.teacher_dtype is None else floating_dtype(how.teacher_dtype)
        teacher = AdaptersOff(student) if networks.own_teacher else None
        if networks.teacher is not None:
            teacher = stand_in(networks.teacher, dtype)
        ledger.follow(student.parameters())
        ledger.kind = ACTIVATIONS
        ids = torch.zeros(how.batch_size, config["length"], dtype=torch.int64)  # (B, L)
        # Without a mask: whether one masks anything is asked of its values, which are not there.
        batch = TokenBatch(ids, ids, None, ids[:, 0], [""] * how.batch_size)  # pyrefly: ignore
        nets = Networks(student, teacher, None)
        return _taken(ledger, nets, lambda: networks.objective(nets, batch), config, how)


def _taken(
    ledger: Ledger,
    nets: Networks,
    losses: Callable[[], Mapping[str, Tensor]],
    config: Mapping[str, Any],
    how: How,
    encoders: Sequence[Any] = (),
) -> Step:
    """Takes a step inside `simulated` and returns what it took; what is there by now was for encoding."""
    student: Any = nets.student
    weights, encoded, dtype = list(student.parameters()), len(ledger), AUTOCAST.get(how.precision)
    with cuda_norms() if how.cuda else contextlib.nullcontext():
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            total = losses()["total"]
        forward = len(ledger)
        total.backward()
    backward = len(ledger)
    trained = [weight for weight in weights if weight.requires_grad]
    target: Any = nets.target
    teacher: Any = nets.teacher
    return Step(
        student=_bytes(weights),
        trained=_bytes(trained),
        moments=_moments(ledger, instantiate(config["optimizer"])(trained)),
        target=0 if target is None else _bytes(target.parameters()),
        teacher=0 if teacher is None else _bytes(teacher.parameters()),
        encoders=sum(_bytes(part.parameters()) for part in encoders),
        encode=int(ledger.rows(0, encoded)[:, ACTIVATIONS].max(initial=0)),
        forward=ledger.rows(encoded, forward)[:, GRADIENTS:],
        backward=ledger.rows(forward, backward)[:, GRADIENTS:],
        macs=ledger.macs,
    )


def _networks(networks: FitNetworks, has_target: bool, how: How) -> Any:
    """Returns the networks as a fit has them before its first step."""
    student: Any = stand_in(networks.student).train()
    if how.gradient_checkpointing:
        student.enable_gradient_checkpointing()
    dtype = torch.float32 if how.teacher_dtype is None else floating_dtype(how.teacher_dtype)
    teacher = AdaptersOff(student) if networks.own_teacher else stand_in(networks.unet, dtype)
    target = stand_in(networks.student).eval().requires_grad_(requires_grad=False) if has_target else None
    points = (getattr(networks.objective, name, ()) for name in ("student_points", "teacher_points"))
    return Networks(tapped(student, next(points)), tapped(teacher, next(points)), target)


@torch.no_grad()
def _batch(networks: FitNetworks, size: int, count: int, encoders: list[Any], encoding: Encoding) -> LatentBatch:
    """Returns a batch of cached latents and texts, what is not cached made by the encoders."""
    (channels, factor), (length, width) = networks.latents, networks.text
    latents = torch.empty(count, channels, size // factor, size // factor)  # (B, C, h, w)
    text, empty = torch.empty(count, length, width), torch.empty(1, length, width)  # (B, L, D), (1, L, D)
    if encoding.pixels:
        chunks = torch.empty(count, 3, size, size).split(CHUNK)
        latents = torch.cat([encoders[0].encode(chunk).latent_dist.parameters for chunk in chunks]).chunk(2, 1)[0]
    if encoding:
        text = encoders[1](torch.zeros(count, length, dtype=torch.int64))[0]
    return LatentBatch(latents, text, empty, torch.zeros(count, dtype=torch.int64), [""] * count)


def _draws(batch: LatentBatch) -> Draws:
    count = len(batch.latents)
    return Draws(torch.zeros(count, dtype=torch.int64), torch.empty_like(batch.latents), torch.empty(count))


def _moments(ledger: Ledger, optimizer: torch.optim.Optimizer) -> int:
    """Returns the bytes that the optimizer keeps from its first step on."""
    ledger.kind = HELD
    before = ledger.now[HELD]
    optimizer.step()
    return ledger.now[HELD] - before


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
