"""A fit's networks and objective on the meta device, from configs alone: no weights, no artifacts of earlier stages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.models import LatentDiffusion, Teacher, build_student, part_config
from ldc.runtime.lora import Lora
from ldc.runtime.objectives import build_objective
from ldc.runtime.requirements import meta_teacher
from ldc.runtime.teachers import teacher_spec
from ldc.surgery import Plan

TEACHER = "teacher"


@dataclass(frozen=True)
class FitNetworks:
    """What one fit trains, and from what.

    `unet` is the teacher's, also where the student with its adapters off takes its place (`own_teacher`).
    """

    spec: Teacher
    student: Any
    unet: Any
    objective: Any
    own_teacher: bool

    @property
    def latents(self) -> tuple[int, int]:
        """Channels of the latents, and pixels per latent along one side."""
        return self.unet.config.in_channels, 2 ** (len(part_config(self.spec, "vae")["block_out_channels"]) - 1)

    @property
    def text(self) -> tuple[int, int]:
        """States of a caption, and their width (L, D)."""
        config = part_config(self.spec, "text_encoder")
        return int(config.get("max_position_embeddings", 77)), int(config.get("hidden_size", 512))

    def encoders(self) -> list[Any]:
        """Returns VAE and text encoder on the meta device."""
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415 - costs seconds
        from transformers.models.clip.configuration_clip import CLIPTextConfig  # noqa: PLC0415
        from transformers.models.clip.modeling_clip import CLIPTextModel  # noqa: PLC0415

        text = CLIPTextConfig(**part_config(self.spec, "text_encoder"))
        with torch.device("meta"):
            return [AutoencoderKL.from_config(part_config(self.spec, "vae")), CLIPTextModel(text)]


def fit_networks(cfg: DictConfig, name: str, load: Callable[[Teacher], LatentDiffusion] = meta_teacher) -> FitNetworks:
    """Returns the networks of the fit that stage `name` is; `load` gives its teacher and those of earlier stages.

    Raises:
        ValueError: a teacher's config cannot be found, or an earlier stage makes nothing that can be told of before.
    """
    config = cfg.stages[name]
    spec, lora = teacher_spec(config.teacher), Lora.from_config(config.lora)
    teacher = load(spec)
    base, plan = _start(cfg, name, teacher, load)
    own = lora is not None and lora.is_own_teacher
    seen = LatentDiffusion(base if own else teacher.unet, None, None, None, teacher.scheduler_config, teacher.guidance)
    objective = build_objective(config.objective, seen, Plan(()) if own else plan, config.seed)
    student = build_student(base, Plan(()), getattr(objective, "guidance_embedding_dim", None))
    if lora is not None:
        with torch.device(next(student.parameters()).device):
            student = lora.add_to(student)
    return FitNetworks(spec, student, teacher.unet, objective, own)


def _start(
    cfg: DictConfig, fit: str, teacher: LatentDiffusion, load: Callable[[Teacher], LatentDiffusion]
) -> tuple[Any, Plan]:
    """Returns the U-Net that stage `fit` begins with, and the plan that made it from its teacher's."""
    name, names = cfg.stages[fit].student, list(cfg.stages)
    if name == TEACHER:
        return teacher.unet, Plan(())
    if name not in names[: names.index(fit)]:
        raise ValueError(f"student must name an earlier stage to be estimated, not {name!r}.")
    config = cfg.stages[name]
    if "pruner" in config:
        unet = load(teacher_spec(config.teacher)).unet
        plan = instantiate(config.pruner).plan(unet)
        return build_student(unet, plan), plan
    if "objective" not in config or "student" not in config:
        raise ValueError(f"student must name a stage that prunes or fits to be estimated, not {name!r}.")
    base, plan = _start(cfg, name, load(teacher_spec(config.teacher)), load)
    return build_student(base, Plan(()), config.objective.get("guidance_embedding_dim")), plan
