"""Causal language models: teachers, students, their folders, their blocks one by one."""

from ldc.models.language.architectures import LANGUAGE_ARCHITECTURES
from ldc.models.language.folders import LanguageModel
from ldc.models.language.generation import continue_texts
from ldc.models.language.students import (
    LANGUAGE_KIND,
    build_language_student,
    find_language_student,
    is_language_model,
    load_language_student,
    save_language_student,
)
from ldc.models.language.teachers import (
    LanguageTeacher,
    check_language_teacher,
    language_config,
    load_language_teacher,
    load_language_tokenizer,
    meta_language_model,
)
from ldc.models.language.walk import Walk, without
from ldc.models.students import initialised_from_teacher

__all__ = [
    "LANGUAGE_ARCHITECTURES",
    "LANGUAGE_KIND",
    "LanguageModel",
    "LanguageTeacher",
    "Walk",
    "build_language_student",
    "check_language_teacher",
    "continue_texts",
    "find_language_student",
    "initialised_from_teacher",
    "is_language_model",
    "language_config",
    "load_language_student",
    "load_language_teacher",
    "load_language_tokenizer",
    "meta_language_model",
    "save_language_student",
    "without",
]
