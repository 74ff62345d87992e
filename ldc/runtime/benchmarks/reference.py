"""A training step as the official scripts take it, for comparison: every encoder online, nothing cached.

Sources: kd_train_text_to_image.py (Kim et al. 2024, BK-SDM) and train_lcm_distill_sd_wds.py (diffusers, for Luo et al.
2023). Both encode pixels and captions in each step, move their averages tensor by tensor, clip and read their losses on
the host; the second calls the teacher once with the caption and once without. The formulas are this project's, which
tests compare with the scripts'; image decoding and tokenising, which the scripts do as well, are left out in their
favour.

Legend: B batch, C latent channels, H x W latent size, S pixel size, L tokens, D text width.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_

from ldc.diffusion.consistency import boundary_scalings, guidance_embedding
from ldc.diffusion.process import per_sample
from ldc.objectives import BlockDistillation, ConsistencyDistillation, Draws
from ldc.runtime.benchmarks.fitted import GRADIENT_CLIP, LEARNING_RATE


class ReferenceStep(ABC):
    """What both scripts do in a step; subclasses say what the losses are and which average is moved.

    Args:
        objective: gives the settings; none of its code is run.
        student: is trained in place.
        teacher, vae, text_encoder: frozen.
        decay: of the average.
        seed: of torch's global generator, which the scripts draw from.
    """

    def __init__(
        self, objective: Any, student: Any, teacher: Any, vae: Any, text_encoder: Any, *, decay: float, seed: int = 0
    ):
        torch.manual_seed(seed)
        self.objective, self.process = objective, objective.process
        self.student, self.teacher, self.vae, self.text_encoder = student.train(), teacher, vae, text_encoder
        # Fused, as ours is: torch chooses a fast one by itself on CUDA alone, and how it does is not what is compared.
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, fused=True)
        self.decay = decay
        self.average = copy.deepcopy(student).eval().requires_grad_(requires_grad=False)

    @abstractmethod
    def losses(self, latents: Tensor, text: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        """Returns total and its terms for latents (B, C, H, W) and text states (B, L, D)."""

    @abstractmethod
    def draw(self, latents: Tensor) -> Draws:
        """Returns the draws of a step."""

    def step(self, pixels: Tensor, tokens: Tensor) -> dict[str, float]:
        """Takes one optimizer step on pixels (B, 3, S, S) and token numbers (B, L); returns what is logged."""
        with torch.no_grad():
            text = self.text_encoder(tokens)[0]
            latents = self.vae.encode(pixels).latent_dist.sample() * self.vae.config.scaling_factor
        losses = self.losses(latents, text, self.draw(latents))
        logged = {name: loss.item() for name, loss in losses.items()}  # one wait for the device each
        losses["total"].backward()
        clip_grad_norm_(self.student.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.move_average()
        return {**logged, **{f"bar/{name}": loss.detach().item() for name, loss in losses.items()}}

    @torch.no_grad()
    def move_average(self) -> None:
        """Moves the average, one tensor after the other."""
        for average, value in zip(self.average.parameters(), self.student.parameters(), strict=True):
            average.mul_(self.decay).add_(value, alpha=1 - self.decay)


class ReferenceDistillation(ReferenceStep):
    """BK-SDM's step: features are collected by hooks on both networks, and all errors are summed."""

    objective: BlockDistillation

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._features: dict[tuple[str, str], Tensor] = {}
        for points, name, network in (
            (self.objective.teacher_points, "teacher", self.teacher),
            (self.objective.student_points, "student", self.student),
        ):
            for point in points:
                network.get_submodule(point).register_forward_hook(self._collect(name, point))

    def _collect(self, name: str, point: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            self._features[name, point] = output[0] if isinstance(output, tuple) else output

        return hook

    def draw(self, latents: Tensor) -> Draws:
        noise = torch.randn_like(latents)
        return Draws(torch.randint(0, self.process.num_timesteps, (len(latents),)), noise)

    def losses(self, latents: Tensor, text: Tensor, draws: Draws) -> dict[str, Tensor]:
        t, noise = draws.timesteps, draws.noise
        x_t = self.process.noisy(latents, noise, t)
        student = self.student(x_t, t, text).sample
        terms = {"task": mse_loss(student, self.process.target(latents, noise, t))}
        terms["output"] = mse_loss(student, self.teacher(x_t, t, text).sample.detach())
        pairs = [(self._features["student", s], self._features["teacher", t]) for t, s in self.objective.points]
        terms["feature"] = torch.stack([mse_loss(ours, theirs.detach()) for ours, theirs in pairs]).sum()
        self._features.clear()
        return {"total": torch.stack(list(terms.values())).sum(), **terms}


class ReferenceConsistency(ReferenceStep):
    """LCM's step: two passes of the teacher, and each output is converted before the two are combined.

    The states of the empty caption are encoded once, as in the script.
    """

    objective: ConsistencyDistillation

    def __init__(self, *args: Any, empty_text: Tensor, **options: Any):
        super().__init__(*args, **options)
        self.empty_text = empty_text  # (1, L, D)

    def draw(self, latents: Tensor) -> Draws:
        size, solver, (low, high) = len(latents), self.objective.solver, self.objective.guidance_range
        index = torch.randint(0, solver.num_steps, (size,))
        return Draws(solver.start(index), torch.randn_like(latents), low + (high - low) * torch.rand(size))

    def losses(self, latents: Tensor, text: Tensor, draws: Draws) -> dict[str, Tensor]:
        t, w = draws.timesteps, draws.guidance
        if w is None or self.objective.guidance_embedding_dim is None:
            raise ValueError("draws must hold guidance for a student that embeds it, not None.")
        embedding = guidance_embedding(w, self.objective.guidance_embedding_dim)
        x_t = self.process.noisy(latents, draws.noise, t)
        online = self._consistency(self.student, x_t, t, text, embedding)
        with torch.no_grad():
            index = self.objective.solver.index(t)
            x_prev = self._teacher_step(x_t, t, text, per_sample(w, x_t), index)
            target = self._consistency(self.average, x_prev, self.objective.solver.end(index), text, embedding)
        if self.objective.loss == "l2":
            return {"total": mse_loss(online, target)}
        c = self.objective.huber_c
        return {"total": torch.mean(torch.sqrt((online - target) ** 2 + c**2) - c)}

    def _teacher_step(self, x_t: Tensor, t: Tensor, text: Tensor, w: Tensor, index: Tensor) -> Tensor:
        conditional = self.teacher(x_t, t, text).sample
        unconditional = self.teacher(x_t, t, self.empty_text.expand_as(text)).sample
        x_0, x_0_empty = (self.process.x_0(output, x_t, t) for output in (conditional, unconditional))
        eps, eps_empty = (self.process.eps(output, x_t, t) for output in (conditional, unconditional))
        return self.objective.solver.step(x_0 + w * (x_0 - x_0_empty), eps + w * (eps - eps_empty), index)

    def _consistency(self, network: Any, x: Tensor, t: Tensor, text: Tensor, embedding: Tensor) -> Tensor:
        c_skip, c_out = (per_sample(scaling, x) for scaling in boundary_scalings(t))
        output = network(x, t, text, timestep_cond=embedding).sample
        return c_skip * x + c_out * self.process.x_0(output, x, t)
