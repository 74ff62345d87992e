"""Students that lost channels: no stock config describes them, so their folder is one of a plan.

It holds the parent's `config.json`, `plan.json` and `student.safetensors`. It must not carry transformers' weight file
name, under which transformers would draw what does not fit at random, with only a warning.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ldc.families.llama import settle
from ldc.models.language.folders import CONFIG, LanguageModel, build_empty, finish, read_language_config
from ldc.models.language.tensors import fill, own_tensors
from ldc.models.saving import PLAN_FILE
from ldc.surgery import Plan, apply

WEIGHTS_FILE = "student.safetensors"
_SUBJECT = "student"


def save_edited(folder: Path, model: Any, parent_config: Any) -> None:
    """Writes the parent's config, the student's tensors, tied ones once, and what it generates with."""
    from safetensors.torch import save_file  # noqa: PLC0415

    content = dict(parent_config) if isinstance(parent_config, Mapping) else parent_config.to_dict()
    for key in ("_name_or_path", "dtype", "torch_dtype"):
        content.pop(key, None)
    content["architectures"] = [type(model).__name__]
    content["dtype"] = str(model.dtype).removeprefix("torch.")
    (folder / CONFIG).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    tensors = {name: tensor.detach().contiguous() for name, tensor in own_tensors(model).items()}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)


def load_edited(folder: Path, dtype: torch.dtype) -> LanguageModel:
    """Loads a folder of a plan: frozen, in evaluation mode, on the CPU.

    Raises:
        ValueError: the weights cannot be read, or are not exactly the tensors of config and plan.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    model = build_empty(read_language_config(folder, _SUBJECT), _SUBJECT, dtype)
    apply(model, Plan.load(folder / PLAN_FILE), settle)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} must be readable, but reading it failed: {error}.") from error
    fill(model, tensors, folder, _SUBJECT)
    return finish(model, folder)
