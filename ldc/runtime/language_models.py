"""From the word after `student=` to a language model: whether it is one, and its weights when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ldc.runtime.paths import locate
from ldc.runtime.teachers import holds_language_model, language_spec, named_teacher, names_language_model

if TYPE_CHECKING:
    from ldc.models.language import LanguageModel


@dataclass(frozen=True)
class FoundLanguageModel:
    """A language model that is there; `folder` is None for one that a teacher's config names."""

    name: str
    folder: Path | None
    read: Callable[[torch.dtype], "LanguageModel"]

    def load(self, device: str = "cpu", dtype: torch.dtype = torch.float32) -> "LanguageModel":
        """Returns model and tokenizer, the model on the device, in evaluation mode."""
        found = self.read(dtype)
        return found._replace(model=found.model.to(device).eval())


def find_language_model(name: str) -> FoundLanguageModel | None:
    """Returns the language model that `student=NAME` means, None where it means something else, or nothing.

    It is the name of a teacher's config, a folder of an artifact, of a run or of transformers, a file or a hub id.

    Raises:
        ValueError: the language model that it names cannot be loaded.
    """
    config = named_teacher(name)
    if config is not None:
        return _teacher(name, language_spec(config)) if names_language_model(config) else None
    path = Path(locate(name)).expanduser()
    if not holds_language_model(str(path) if path.exists() else name):
        return None
    from ldc.models.language import LanguageTeacher, find_language_student, load_language_student  # noqa: PLC0415

    if path.is_dir():
        folder = find_language_student(path)
        return FoundLanguageModel(name, folder, partial(load_language_student, folder))
    return _teacher(name, LanguageTeacher(str(path) if path.is_file() else name))


def _teacher(name: str, spec: Any) -> FoundLanguageModel:
    from ldc.models.language import check_language_teacher, load_language_teacher  # noqa: PLC0415

    check_language_teacher(spec)

    def read(dtype: torch.dtype) -> "LanguageModel":
        return load_language_teacher(replace(spec, dtype=str(dtype).removeprefix("torch.")))

    return FoundLanguageModel(name, None, read)
