"""Language students: a teacher's model with a plan applied and the teacher's weights; saved, found, loaded strictly.

A student that lost blocks is an ordinary transformers folder, one that lost channels a folder of a plan.
"""

import copy
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ldc.families.llama import BLOCKS, settle, stock_config
from ldc.models.folders import find_folder
from ldc.models.language.edited import WEIGHTS_FILE, load_edited, save_edited
from ldc.models.language.folders import CONFIG, LanguageModel, find_language_folder, load_language_folder
from ldc.models.saving import PLAN_FILE
from ldc.models.students import last_of_run
from ldc.permissions import share_weights
from ldc.surgery import Plan, Slice, apply

LANGUAGE_KIND = "language_student"
_SUBJECT = "student"
_STOCK = ("model*.safetensors*", "pytorch_model*.bin*")


def build_language_student(model: Any, plan: Plan) -> Any:
    """Returns a trainable student whose tensors are copies of the model's, which is not changed; also on meta.

    Raises:
        ValueError: the plan does not fit.
    """
    # First a copy of the structure that shares all tensors, so that what goes is never copied.
    tensors = chain(model.parameters(), model.buffers())
    shared = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    student: Any = copy.deepcopy(apply(shared, plan, settle))
    return student.requires_grad_(requires_grad=True)


def save_language_student(
    folder: Path | str,
    model: Any,
    plan: Plan,
    tokenizer: Any,
    parent_config: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a student's folder; returns it.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        model: the edited model.
        plan: what made it, on the names of the unedited model.
        tokenizer: the teacher's, or None.
        parent_config: the unedited model's config, which a student without a stock config is described by; the
            model's own where None, which is the same as long as the plan keeps all blocks.
        extra: further JSON files, {file name: content}.

    Raises:
        ValueError: the model has no stock config and is not what config and plan say, or its parent's is not given.
    """
    stock = stock_config(model) is not None
    if not stock:
        _check_described(plan, parent_config)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear_weights(folder)
    _without_paths(model)
    if stock:
        model.save_pretrained(folder)
    else:
        save_edited(folder, model, model.config if parent_config is None else parent_config)
    share_weights(folder)
    plan.save(folder / PLAN_FILE)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for name, content in (extra or {}).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    return folder


def _check_described(plan: Plan, parent_config: Any) -> None:
    if not any(isinstance(edit, Slice) for edit in plan.edits):
        raise ValueError(
            "student must be an ordinary model to be saved, as its plan cuts no channels, but its modules are others: "
            "adapters must be merged first."
        )
    if parent_config is None and any(edit.path == BLOCKS for edit in plan.edits):
        raise ValueError("parent_config must be given for a student that lost both blocks and channels.")


def clear_weights(folder: Path) -> None:
    """Takes a student's weights out of a folder that is about to get others: it must never hold those of two."""
    for pattern in (WEIGHTS_FILE, *_STOCK):
        for path in folder.glob(pattern):
            path.unlink()


def _without_paths(model: Any) -> None:
    """Clears the name of the folder that the model came from, and keeps what it samples by valid.

    Published settings, as Vicuna's, give a temperature without sampling, which transformers refuses to write.
    """
    model.config._name_or_path = ""  # noqa: SLF001 - it has no public setter that takes effect in what is written
    settings = model.generation_config
    if settings is not None:
        try:
            settings.validate(strict=True)
        except ValueError:
            settings.do_sample = True


def load_language_student(
    folder: Path | str, dtype: torch.dtype = torch.float32, revision: str | None = None
) -> LanguageModel:
    """Loads a student from an artifact folder, a run folder (its last student), a transformers folder or a hub id.

    Raises:
        ValueError: there is no student, or its files are not exactly what its config and plan say.
    """
    if Path(folder).expanduser().is_dir():
        path = find_language_student(folder)
        if (path / WEIGHTS_FILE).is_file():
            return load_edited(path, dtype)
    else:
        path = find_language_folder(str(folder), _SUBJECT, revision)
    return load_language_folder(path, _SUBJECT, dtype)


def find_language_student(folder: Path | str) -> Path:
    """Returns the folder of the student that `folder` stands for: itself, or the last language student of a run.

    Raises:
        ValueError: there is no student.
    """
    path = find_folder(str(folder), _SUBJECT, patterns=[CONFIG])
    if (path / CONFIG).is_file():
        return path
    if found := last_of_run(path, LANGUAGE_KIND):
        return found
    raise ValueError(
        f"{_SUBJECT} must be a transformers folder or a run with a finished language student, and {path} is neither."
    )


def is_language_model(folder_or_config: Path | str | Mapping[str, Any]) -> bool:
    """Returns whether a folder, run folder, hub id, GGUF file or the content of a `config.json` is transformers'.

    An encoder counts, too: what loads it says in one sentence why it cannot be used.
    """
    if isinstance(folder_or_config, Mapping):
        return "model_type" in folder_or_config and "_class_name" not in folder_or_config
    name = str(folder_or_config)
    if name.startswith("pypi:") or name.endswith(".gguf"):
        return True
    try:
        path = find_folder(name, _SUBJECT, patterns=[CONFIG])
        content = json.loads((path / CONFIG).read_text()) if (path / CONFIG).is_file() else None
    except (ValueError, OSError):
        return False
    if content is None:
        return last_of_run(path, LANGUAGE_KIND) is not None
    return isinstance(content, Mapping) and is_language_model(content)
