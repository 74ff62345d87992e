"""Teachers and students: building, loading, saving."""

from ldc.models.adapters import merge_adapters, save_adapters
from ldc.models.architectures import ARCHITECTURES
from ldc.models.latent_diffusion import Guidance, LatentDiffusion, check_compatible, encode_text, freeze
from ldc.models.saving import lcm_scheduler, save_student
from ldc.models.students import (
    build_random_student,
    build_student,
    find_student,
    initialised_from_teacher,
    load_student,
)
from ldc.models.teachers import Teacher, check_teacher, load_teacher, meta_unet, part_config, text_tokens

__all__ = [
    "ARCHITECTURES",
    "Guidance",
    "LatentDiffusion",
    "Teacher",
    "build_random_student",
    "build_student",
    "check_compatible",
    "check_teacher",
    "encode_text",
    "find_student",
    "freeze",
    "initialised_from_teacher",
    "lcm_scheduler",
    "load_student",
    "load_teacher",
    "merge_adapters",
    "meta_unet",
    "part_config",
    "save_adapters",
    "save_student",
    "text_tokens",
]
