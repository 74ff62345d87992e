"""From the word after `student=` to a diffusion model: what it is first, its weights when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ldc.models import Guidance, LatentDiffusion, check_teacher, load_student, load_teacher, part_config
from ldc.models.folders import check_conditions, check_folder, find_folder, read_config
from ldc.models.students import find_student, read_guidance
from ldc.runtime.devices import move
from ldc.runtime.paths import locate
from ldc.runtime.teachers import named_teacher, teacher_spec

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
    """Returns the diffusion model that `student=NAME` means.

    It is the name of a teacher's config, a folder of an artifact, of a run or of diffusers, or a hub id.

    Raises:
        ValueError: it is none of these.
    """
    config = named_teacher(name)
    if config is not None:
        spec = teacher_spec(config)
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
