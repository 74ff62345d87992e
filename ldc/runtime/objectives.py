"""From an objective's config to the objective: what the networks decide is filled in here."""

import inspect
from typing import Any

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from ldc.diffusion.process import Process
from ldc.families.unet2d_points import feature_points
from ldc.models import Guidance, LatentDiffusion
from ldc.objectives import ConsistencyDistillation
from ldc.surgery import Plan


def build_objective(config: DictConfig, teacher: LatentDiffusion, plan: Plan, seed: int) -> Any:
    """Returns the configured objective; what the config leaves open or null comes from the networks.

    That is the teacher's process, the plan's feature points, and as LCM's w the teacher's guidance range, or its
    default alone for a student without guidance embedding (LCM-LoRA), which can learn only one.
    """
    points = feature_points(teacher.unet, plan)
    known = {
        "process": Process.from_config(teacher.scheduler_config),
        "seed": seed,
        "points": points,
        "feature_points": points,
        "guidance_range": _guidance_range(config, teacher.guidance),
    }
    accepted = inspect.signature(get_class(config["_target_"])).parameters
    filled = {name: value for name, value in known.items() if name in accepted and config.get(name) is None}
    return instantiate(config, **filled, _convert_="all")


def _guidance_range(config: DictConfig, guidance: Guidance) -> tuple[float, float] | float:
    if "guidance_embedding_dim" in config and config.guidance_embedding_dim is None:
        return guidance.default - 1.0
    low, high = guidance.range
    return low - 1.0, high - 1.0


def student_guidance(objective: Any, teacher: LatentDiffusion) -> Guidance:
    """Returns how the trained student takes guidance, as diffusers' guidance_scale = LCM's w + 1."""
    if not isinstance(objective, ConsistencyDistillation):
        return teacher.guidance
    low, high = (w + 1.0 for w in objective.guidance_range)
    if objective.guidance_embedding_dim is None:
        return Guidance("none", 1.0, (1.0, 1.0))  # one guidance is baked in
    return Guidance("embedded", min(max(teacher.guidance.default, low), high), (low, high))
