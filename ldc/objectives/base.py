"""What all objectives share: their contract, how they take draws, call a network and report their terms.

Legend: B batch, C latent channels, H x W latent size, L tokens, D text width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ldc import randomness
from ldc.data.batch import LatentBatch
from ldc.diffusion.process import Process, at_least_float32
from ldc.families.taps import Tapped

Given = TypeVar("Given")


class Draws(NamedTuple):
    """The random part of one step; every entry is a pure function of (seed, position)."""

    timesteps: Tensor  # (B,) int64; for consistency distillation t_{n+k}
    noise: Tensor  # (B, C, H, W)
    guidance: Tensor | None = None  # (B,) w in LCM's convention (guidance_scale - 1), or None


class Networks(NamedTuple):
    """The networks of one step: plain, tapped or wrapped (DDP, compile); `target` is LCM's moving average."""

    student: nn.Module
    teacher: nn.Module | None = None
    target: nn.Module | None = None


class Objective(nn.Module):
    """`forward(networks, batch)` returns {"total": ..., name: ...}, scalars in at least float32.

    Each term is reported raw under its name and, as it enters the total, under `weighted/<name>`.

    Attributes:
        needs: Which of "teacher" and "target" it uses.
        student_points, teacher_points: Submodules whose features it reads. Networks given without these taps are tapped
            for the call; a trainer wraps them in `Tapped` once instead.
    """

    needs: tuple[str, ...] = ()
    student_points: tuple[str, ...] = ()
    teacher_points: tuple[str, ...] = ()

    def __init__(self, process: Process, seed: int = 0):
        super().__init__()
        self.process = process
        self.seed = seed

    def forward(self, networks: Networks, batch: LatentBatch) -> dict[str, Tensor]:
        return self.losses(networks, batch, self.draw(batch, self.seed))

    def draw(self, batch: LatentBatch, seed: int) -> Draws:
        """Draws t ~ U{0 .. T-1} and eps ~ N(0, I) for each position of the batch, on the batch's device."""
        timesteps = randomness.integers(seed, "timestep", batch.positions, self.process.num_timesteps)
        return Draws(randomness.on_device(timesteps, batch.latents), noise_like(batch, seed))

    def losses(self, networks: Networks, batch: LatentBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns the named losses of given draws."""
        raise NotImplementedError


def noise_like(batch: LatentBatch, seed: int) -> Tensor:
    """Returns the positions' noise, (B, C, H, W), on the latents' device, in their precision but at least float32."""
    noise = randomness.normal(seed, "noise", batch.positions, batch.latents.shape[1:])
    return randomness.on_device(noise, batch.latents, torch.promote_types(batch.latents.dtype, torch.float32))


def predict(
    network: nn.Module,
    x_t: Tensor,
    t: Tensor,
    text: Tensor,
    *,
    condition: Tensor | None = None,
    points: Sequence[str] = (),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Calls a network in its own precision; returns its output, at least in float32, and its features at `points`.

    `condition` is what diffusers calls `timestep_cond`, (B, E), or None.

    Raises:
        ValueError: The network is tapped, but not at all these points.
    """
    if points and not any(isinstance(module, Tapped) for module in network.modules()):
        tapped = Tapped(network, points)
        try:
            return predict(tapped, x_t, t, text, condition=condition, points=points)
        finally:
            tapped.remove()
    dtype = _dtype(network, x_t.dtype)
    extra = {} if condition is None else {"timestep_cond": condition.to(dtype)}
    output, features = _unpack(network(x_t.to(dtype), t, text.to(dtype), **extra))
    missing = [point for point in points if point not in features]
    if missing:
        raise ValueError(f"network must be tapped at {', '.join(points)}; {', '.join(missing)} is missing.")
    return at_least_float32(output), features


def given(value: Given | None, name: str) -> Given:
    """Returns what an objective needs.

    Raises:
        ValueError: It is None.
    """
    if value is None:
        raise ValueError(f"{name} must be given to this objective, not None.")
    return value


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Returns mean((a - b)^2) over all elements, computed in at least float32."""
    return (at_least_float32(a) - at_least_float32(b)).square().mean()


def feature_losses(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], points: Sequence[tuple[str, str]], *, normalise: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Compares features at pairs (teacher point, student point).

    Returns:
        The raw mean squared errors by student point, and what enters the sum: the same, or with `normalise` each
        divided by the mean of the squared teacher feature, so that no point outweighs the others by its scale.
    """
    raw = {s: mean_squared_error(student[s], teacher[t]) for t, s in points}
    if not normalise:
        return raw, raw
    return raw, {s: raw[s] / at_least_float32(teacher[t]).square().mean() for t, s in points}


def report(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], *, features: tuple[dict, dict] | None = None
) -> dict[str, Tensor]:
    """Returns total, each term raw and weighted, and the feature points' part in the term "feature".

    A term of weight 0 is reported and left out of the total: it asks for no gradient, and 0 x inf is not added.
    """
    raw = dict(terms)
    weighted = {name: weights[name] * term for name, term in terms.items()}
    if features is not None:
        by_point, counted = features
        raw["feature"] = torch.stack(list(by_point.values())).sum()
        weighted["feature"] = weights["feature"] * torch.stack(list(counted.values())).sum()
        raw |= {f"feature/{point}": value for point, value in by_point.items()}
    total = torch.stack([value for name, value in weighted.items() if weights[name]]).sum()
    if features is not None:
        weighted |= {f"feature/{point}": weights["feature"] * value for point, value in features[1].items()}
    return {"total": total, **raw, **{f"weighted/{name}": value for name, value in weighted.items()}}


def innermost(network: nn.Module) -> nn.Module:
    """Returns the network inside taps, DDP and compile."""
    while True:
        children = network._modules  # noqa: SLF001 - a compiled module answers `hasattr` for its inner one
        inner = children.get("_orig_mod") or children.get("module")
        if inner is None:
            return network
        network = inner


def _dtype(network: nn.Module, default: torch.dtype) -> torch.dtype:
    found = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
    return found or getattr(innermost(network), "dtype", default)


def _unpack(answer: Any) -> tuple[Tensor, dict[str, Tensor]]:
    if isinstance(answer, Tensor):
        return answer, {}
    if isinstance(answer, tuple):
        return answer[0], answer[1] if len(answer) > 1 and isinstance(answer[1], dict) else {}
    return answer.sample, {}
