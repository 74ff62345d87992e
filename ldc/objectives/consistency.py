"""Latent consistency distillation: one guided solver step of the teacher, one answer of the student (Luo et al. 2023).

Algorithm 1, for one sample with draws n, eps, w:

    x_{t_{n+k}} = alpha x_0 + sigma eps
    g           = T(x, c) + w (T(x, c) - T(x, empty))            one fused teacher pass on a doubled batch
    x_{t_n}     = DDIM step from t_{n+k} to t_n with g           (eq. 13-14; g is converted to x_0 and eps once, which
                                                                 equals combining the two predictions' conversions)
    L           = d(f_S(x_{t_{n+k}}, w, c, t_{n+k}), stopgrad f_target(x_{t_n}, w, c, t_n))
    f(x, w, c, t) = c_skip(t) x + c_out(t) x_0(x, w, c, t)       (eq. 9)

With `output_weight`, the student is also held to the guided prediction that the solver step computes anyway, the first
stage of Meng et al. 2023 (On Distillation of Guided Diffusion Models, eq. 5) in the same pass:

    L += output_weight * mean((S(x_{t_{n+k}}, w, c, t_{n+k}) - g)^2)

Teacher and student may differ in their configs: the student may be pruned, and carries the embedding of w.

Legend: B batch, C latent channels, H x W latent size, E guidance embedding, n index of the solver step, k skip.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldc import randomness
from ldc.data.batch import LatentBatch
from ldc.diffusion.consistency import boundary_scalings, guidance_embedding
from ldc.diffusion.process import Process, at_least_float32, per_sample
from ldc.diffusion.solver import SkippingStepDDIM
from ldc.objectives.base import (
    Draws,
    Networks,
    Objective,
    feature_losses,
    given,
    innermost,
    mean_squared_error,
    noise_like,
    predict,
    report,
)


class TeacherStep(NamedTuple):
    """What the fused teacher pass gives."""

    x_prev: Tensor  # (B, C, H, W) x_{t_n}
    guided: Tensor  # (B, C, H, W) g, in the teacher's prediction type
    features: dict[str, Tensor]  # of the conditional half


class ConsistencyDistillation(Objective):
    """Luo et al. 2023, Algorithm 1; with a fixed w and no embedding, LCM-LoRA (Luo et al. 2023b).

    Args:
        process: The teacher's noise schedule.
        num_solver_steps: N, steps of the solver's grid.
        skip: k, timesteps from t_{n+k} to t_n.
        loss: "l2", mean((a - b)^2), or "huber", mean(sqrt((a - b)^2 + c^2) - c), elementwise with c = `huber_c`.
        guidance_range: (low, high) of LCM's w = guidance_scale - 1, drawn uniformly, or one fixed w.
        guidance_embedding_dim: The student's `time_cond_proj_dim`, or None for a student without the embedding.
        output_weight: Weight of the guided output's distillation; not part of LCM.
        feature_points: Pairs (teacher point, student point), compared on the conditional half of the teacher pass.
        feature_weight: Weight of their sum.
        normalise_features: As in `BlockDistillation`.
        target: "average": a trainer keeps a moving average of the student and gives it as `networks.target`;
            "online": the student itself, without gradient, is the target. This only states what the objective `needs`;
            `losses` takes the student wherever no target is given.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        process: Process,
        num_solver_steps: int = 50,
        skip: int = 20,
        loss: str = "l2",
        huber_c: float = 1e-3,
        *,
        guidance_range: Sequence[float] | float = (2.0, 14.0),
        guidance_embedding_dim: int | None = 256,
        output_weight: float = 0.0,
        feature_points: Sequence[tuple[str, str]] = (),
        feature_weight: float = 0.0,
        normalise_features: bool = False,
        target: str = "average",
        seed: int = 0,
    ):
        super().__init__(process, seed)
        fixed = isinstance(guidance_range, int | float)
        low, high = (guidance_range, guidance_range) if fixed else guidance_range
        _check(loss=loss, huber_c=huber_c, low=low, high=high, target=target)
        check_weights(output_weight=output_weight, feature_weight=feature_weight)
        self.solver = SkippingStepDDIM(process, num_solver_steps, skip)
        self.loss, self.huber_c = loss, huber_c
        self.guidance_range = (float(low), float(high))
        self.guidance_embedding_dim = guidance_embedding_dim
        self.points = [(teacher, student) for teacher, student in feature_points] if feature_weight else []
        self.teacher_points = tuple(teacher for teacher, _ in self.points)
        self.student_points = tuple(student for _, student in self.points)
        self.weights = {"consistency": 1.0, "output": output_weight, "feature": feature_weight}
        self.normalise_features = normalise_features
        self.needs = ("teacher", "target") if target == "average" else ("teacher",)

    def draw(self, batch: LatentBatch, seed: int) -> Draws:
        """Draws n ~ U{0 .. N-1} (given as t_{n+k}), eps ~ N(0, I) and w ~ U[low, high] for each position."""
        noise = noise_like(batch, seed)
        index = randomness.integers(seed, "solver index", batch.positions, self.solver.num_steps)
        low, high = self.guidance_range
        w = low + (high - low) * randomness.uniform(seed, "guidance", batch.positions)
        start = randomness.on_device(self.solver.start(index), noise)
        return Draws(start, noise, randomness.on_device(w, noise, noise.dtype))

    def losses(self, networks: Networks, batch: LatentBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns total, consistency, with their weights output, feature and feature/<student point>, scalars.

        Raises:
            ValueError: The student's guidance embedding is not the one that was asked for.
        """
        self._check_student(networks.student)
        t, w = draws.timesteps, given(draws.guidance, "draws.guidance")
        x_t = self.process.noisy(batch.latents, draws.noise, t)
        with torch.no_grad():
            step = self.teacher_step(given(networks.teacher, "networks.teacher"), x_t, batch, draws)
            end = self.solver.end(self.solver.index(t))
            network = networks.student if networks.target is None else networks.target
            target, _ = self.consistency(network, step.x_prev, end, batch.text, w=w)
        # Where the student is its own target, no version of autocast may reuse weights that it cast without gradient.
        torch.clear_autocast_cache()
        output, features = self._output(networks.student, x_t, t, batch.text, w, self.student_points)
        terms = {"consistency": self.distance(self._answer(output, x_t, t), target)}
        if self.weights["output"]:
            terms["output"] = mean_squared_error(output, step.guided)
        if not self.points:
            return report(terms, self.weights)
        compared = feature_losses(features, step.features, self.points, normalise=self.normalise_features)
        return report(terms, self.weights, features=compared)

    def teacher_step(self, teacher: nn.Module, x_t: Tensor, batch: LatentBatch, draws: Draws) -> TeacherStep:
        """Returns x_{t_n} by a guided solver step, and what the same pass of the teacher gives besides."""
        size = len(x_t)
        text = torch.cat([batch.text, batch.empty_text.to(batch.text.dtype).expand_as(batch.text)])
        doubled = (torch.cat([x_t, x_t]), torch.cat([draws.timesteps, draws.timesteps]), text)
        output, features = predict(teacher, *doubled, points=self.teacher_points)
        conditional, unconditional = output.chunk(2)
        guided = conditional + per_sample(given(draws.guidance, "draws.guidance"), x_t) * (conditional - unconditional)
        x_0 = self.process.x_0(guided, x_t, draws.timesteps)
        eps = self.process.eps(guided, x_t, draws.timesteps)
        x_prev = self.solver.step(x_0, eps, self.solver.index(draws.timesteps))
        return TeacherStep(x_prev, guided, {point: feature[:size] for point, feature in features.items()})

    def consistency(
        self, network: nn.Module, x: Tensor, t: Tensor, text: Tensor, *, w: Tensor, points: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns f(x, w, c, t), (B, C, H, W), equal to `x` in every bit where t = 0, and the network's features."""
        output, features = self._output(network, x, t, text, w, points)
        return self._answer(output, x, t), features

    def _output(
        self, network: nn.Module, x: Tensor, t: Tensor, text: Tensor, w: Tensor, points: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        dim = self.guidance_embedding_dim
        condition = None if dim is None else guidance_embedding(w, dim)
        return predict(network, x, t, text, condition=condition, points=points)

    def _answer(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        c_skip, c_out = boundary_scalings(t, dtype=x.dtype)
        return per_sample(c_skip, x) * x + per_sample(c_out, x) * self.process.x_0(output, x, t)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Returns d(a, b), a scalar, in at least float32."""
        if self.loss == "l2":
            return mean_squared_error(a, b)
        difference = at_least_float32(a) - at_least_float32(b)
        return ((difference.square() + self.huber_c**2).sqrt() - self.huber_c).mean()

    def _check_student(self, student: nn.Module) -> None:
        config = getattr(innermost(student), "config", None)
        if config is None:
            return
        dim = getattr(config, "time_cond_proj_dim", None)
        if dim != self.guidance_embedding_dim:
            raise ValueError(f"guidance_embedding_dim must be the student's {dim}, not {self.guidance_embedding_dim}.")


def check_weights(**weights: float) -> None:
    """Raises ValueError for a negative weight, by its name."""
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"{name} must be at least 0, not {weight}.")


def _check(*, loss: str, huber_c: float, low: float, high: float, target: str) -> None:
    if loss not in {"l2", "huber"}:
        raise ValueError(f"loss must be l2 or huber, not {loss!r}.")
    if huber_c <= 0:
        raise ValueError(f"huber_c must be positive, not {huber_c}.")
    if low > high:
        raise ValueError(f"guidance_range must be (low, high) with low <= high, not ({low}, {high}).")
    if target not in {"average", "online"}:
        raise ValueError(f"target must be average or online, not {target!r}.")
