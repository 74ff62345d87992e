"""A language model's fit on the meta device, from configs alone: no weights, no artifacts of earlier stages."""

from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.models.language import LanguageTeacher, build_language_student, meta_language_model
from ldc.objectives import CausalScores
from ldc.objectives.lora import LANGUAGE_TARGETS
from ldc.pruning.width import WandaSp
from ldc.runtime.language_pruning import build_pruner, rehearse
from ldc.runtime.lora import Lora
from ldc.runtime.teachers import language_spec
from ldc.surgery import Plan

TEACHER = "teacher"


@dataclass(frozen=True)
class LanguageNetworks:
    """What one fit trains, and the teacher that its objective needs, if any; `own_teacher`: itself, adapters off."""

    spec: LanguageTeacher
    student: CausalScores
    teacher: CausalScores | None
    objective: Any
    own_teacher: bool


def language_networks(cfg: DictConfig, name: str) -> LanguageNetworks:
    """Returns the networks of the fit that stage `name` is; of blocks the first ones go, whatever the criterion.

    Raises:
        ValueError: a teacher's config cannot be found, or an earlier stage makes nothing that can be told of before.
    """
    config = cfg.stages[name]
    spec, lora = language_spec(config.teacher), Lora.from_config(config.lora)
    student = build_language_student(_start(cfg, name), Plan(()))
    if lora is not None:
        with torch.device("meta"):
            student = lora.add_to(student, LANGUAGE_TARGETS)
    objective = instantiate(config.objective)
    own = lora is not None and lora.is_own_teacher and TEACHER in objective.needs
    teacher = CausalScores(meta_language_model(spec)) if TEACHER in objective.needs and not own else None
    return LanguageNetworks(spec, CausalScores(student), teacher, objective, own)


def _start(cfg: DictConfig, fit: str) -> Any:
    """Returns the model that stage `fit` begins with."""
    name, names = cfg.stages[fit].student, list(cfg.stages)
    if name == TEACHER:
        return meta_language_model(language_spec(cfg.stages[fit].teacher))
    if name not in names[: names.index(fit)]:
        raise ValueError(f"student must name an earlier stage to be estimated, not {name!r}.")
    config = cfg.stages[name]
    if "pruner" in config:
        model = meta_language_model(language_spec(config.teacher))
        pruner = build_pruner(config.pruner)
        # Of FLAP's student the parameters alone are known: one of blocks that are all as wide stands for it.
        made = rehearse(pruner, model) or rehearse(WandaSp(params=pruner.check(model)), model)
        assert made is not None  # noqa: S101 - WandaSp's is known
        return made.student
    if "objective" not in config or "student" not in config:
        raise ValueError(f"student must name a stage that prunes or fits to be estimated, not {name!r}.")
    return _start(cfg, name)
