"""From the word after `student=` to a model: what it is first, its weights when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from ldc.models import Guidance, LatentDiffusion, Teacher, check_teacher, load_student, load_teacher, part_config
from ldc.models.folders import check_conditions, check_folder, find_folder, read_config
from ldc.models.students import find_student, read_guidance
from ldc.runtime.devices import move
from ldc.runtime.paths import CONF, locate
from ldc.runtime.teachers import teacher_spec

CONFIGS = ["model_index.json", "scheduler/*", "*/config.json"]


@dataclass(frozen=True)
class Found:
    """A model that is there, and what can be told of it before its weights are loaded."""

    guidance: Guidance
    scheduler_config: dict[str, Any]
    read: Callable[[], LatentDiffusion]

    def load(self, device: str = "cpu") -> LatentDiffusion:
        """Returns the model, its parts on the device."""
        return move(self.read(), torch.device(device))


def find_model(name: str) -> Found:
    """Returns what `student=NAME` means: a teacher config's name, an artifact, run or diffusers folder, a hub id.

    Raises:
        ValueError: it is none of these.
    """
    spec = _teacher_named(name)
    if spec is not None:
        check_teacher(spec)
        return Found(spec.guidance, part_config(spec, "scheduler"), partial(load_teacher, spec))
    local = Path(locate(name)).expanduser().is_dir()
    folder = find_student(locate(name)) if local else find_folder(name, "student", patterns=CONFIGS)
    if local:
        check_folder(folder, "student")
    else:
        check_conditions(read_config(folder, "unet", "student"), "student")
    scheduler = read_config(folder, "scheduler", "student", "scheduler_config.json")
    return Found(read_guidance(folder), scheduler, partial(load_student, folder if local else name))


def _teacher_named(name: str) -> Teacher | None:
    """A teacher by its config's name, or by the folder that ships with the project, whose guidance the config knows."""
    for path in (CONF / "teacher").glob("*.yaml"):
        config = OmegaConf.load(path)
        if path.stem == "custom":
            continue
        folder = Path(locate(config.path_or_id))
        if name == path.stem or (folder.is_dir() and Path(locate(name)).resolve() == folder.resolve()):
            return teacher_spec(config)
    return None
