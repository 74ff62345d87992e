"""The two methods that are measured, on the meta device: networks, objective, and the MACs of a step.

Legend: V VAE encoder, X text encoder, T teacher, S student: MACs of one forward pass for one sample. A backward pass
counts as two forward passes.

    block distillation         ours T + 3 S          the official script V + X + T + 3 S
    consistency distillation   ours 2 T + 3 S + S    the official script V + X + 2 T + 3 S + S (the last: the target)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.models import LatentDiffusion, build_student
from ldc.models.architectures import Architecture
from ldc.objectives import ConsistencyDistillation, Objective
from ldc.profiling import macs, params, text_encoder_macs, vae_encoder_macs
from ldc.runtime.benchmarks.scaling import meta_networks
from ldc.runtime.objectives import build_objective

BACKWARD = 2  # forward passes


class Macs(NamedTuple):
    """MACs of one forward pass for one sample."""

    vae: int
    text: int
    teacher: int
    student: int

    def ratios(self) -> dict[str, float]:
        """Returns the costs of the VAE encoder, the text encoder and the student, the teacher's being 1."""
        return {name: getattr(self, name) / self.teacher for name in ("vae", "text", "student")}


@dataclass(frozen=True)
class Case:
    """One method on networks of one size; teacher and student are on the meta device."""

    name: str
    configs: Architecture
    teacher: Any
    student: Any
    objective: Objective
    target_decay: float | None
    averaging: float | None
    macs: Macs

    @property
    def is_consistency(self) -> bool:
        return isinstance(self.objective, ConsistencyDistillation)

    @property
    def step_macs(self) -> int:
        """MACs of our step for one sample, recomputed activations left out."""
        student = (1 + BACKWARD) * self.macs.student
        if not self.is_consistency:
            return self.macs.teacher + student
        return 2 * self.macs.teacher + student + self.macs.student

    @property
    def bound(self) -> float:
        """How many times faster than the official way a step can be by what it need not compute, at the same rate."""
        return (self.macs.vae + self.macs.text + self.step_macs) / self.step_macs

    def describe(self) -> dict[str, Any]:
        """Returns the figures that no measurement is needed for."""
        return {
            "macs": self.macs._asdict(),
            "step_tflop": 2 * self.step_macs / 1e12,
            "bound": self.bound,
            "teacher_params": params(self.teacher),
            "student_params": params(self.student),
        }


def build_case(name: str, method: Mapping[str, Any], configs: Architecture, seed: int) -> Case:
    """Returns a method on networks of these configs.

    Args:
        name: what reports call it.
        method: pruner, objective, target_decay and averaging, as a fit takes them.
        configs: of the teacher.
        seed: of the objective's draws.
    """
    objective_config: DictConfig = method["objective"]
    unet, vae, text_encoder = meta_networks(configs)
    plan = instantiate(method["pruner"]).plan(unet)
    parts = LatentDiffusion(unet, vae, text_encoder, None, dict(configs.scheduler))
    student = build_student(unet, plan, objective_config.get("guidance_embedding_dim"))
    side, tokens = unet.config.sample_size, text_encoder.config.max_position_embeddings
    counted = Macs(
        vae_encoder_macs(vae, vae.config.sample_size),
        text_encoder_macs(text_encoder),
        macs(unet, side, tokens)["macs"],
        macs(student, side, tokens)["macs"],
    )
    objective = build_objective(objective_config, parts, plan, seed)
    return Case(name, configs, unet, student, objective, method["target_decay"], method["averaging"], counted)


def check_ratios(found: Macs, wanted: Macs, tolerance: float) -> dict[str, float]:
    """Returns each part's share of the teacher's MACs, divided by what it is at full size.

    Raises:
        ValueError: one is off by more than the tolerance.
    """
    relative = {name: ratio / wanted.ratios()[name] for name, ratio in found.ratios().items()}
    for name, value in relative.items():
        if not math.isclose(value, 1.0, abs_tol=tolerance):
            rule = f"must cost within {tolerance:.0%} of its share at full size"
            raise ValueError(f"{name} {rule}, not {value - 1:+.1%}.")
    return relative
