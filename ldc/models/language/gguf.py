"""Turns a GGUF file into a plain transformers folder: dequantised once, then read like any other.

transformers reads GGUF (with the package `gguf`) but leaves a `quantization_config` that it cannot write, so the model
is built again from a config without it and takes the tensors over strictly.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch

from ldc.data.cache import default_cache, make_once

logger = logging.getLogger(__name__)

_SCHEMA = 1
# What a machine or a reader left in the config, and what no longer holds.
_DROPPED = ("quantization_config", "_name_or_path", "_model_name_or_path", "dtype", "architectures")


def converted_folder(file: Path, cache: Path | None = None) -> Path:
    """Returns where the plain folder of a GGUF file lies in the cache once it is made."""
    state = file.stat()
    name = f"{_SCHEMA} {file.resolve()} {state.st_size} {state.st_mtime_ns}"
    return (cache or default_cache()) / "language" / hashlib.sha256(name.encode()).hexdigest()[:16]


def convert_gguf(file: Path, subject: str, cache: Path | None = None) -> Path:
    """Returns a transformers folder with a GGUF file's model, in float32, and its tokenizer; made once.

    Raises:
        ValueError: the file is not a GGUF file of a model that transformers reads.
    """
    folder = converted_folder(file, cache)
    if not folder.is_dir():
        _check_magic(file, subject)
        logger.info("%s is dequantised into %s, once.", file.name, folder)
        make_once(folder, lambda temporary: _convert(file, temporary, subject))
    return folder


def gguf_config(file: Path, subject: str) -> dict[str, Any]:
    """Returns what the `config.json` of a GGUF file's plain folder says, read from the file's head.

    Raises:
        ValueError: the file is not a GGUF file of a model that transformers reads.
    """
    from transformers.models.auto.configuration_auto import AutoConfig  # noqa: PLC0415 - costs seconds

    _check_magic(file, subject)
    try:
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    except Exception as error:
        raise _unreadable(file, subject, error) from error
    return _plain(config)


def _plain(config: Any) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in _DROPPED}


def _unreadable(file: Path, subject: str, error: Exception) -> ValueError:
    # The readers of GGUF raise whatever a damaged file leads them to.
    reason = str(error).partition("\n")[0].rstrip(".")
    return ValueError(f"{subject} must be a GGUF file that transformers reads, but {file}: {reason}.")


def _check_magic(file: Path, subject: str) -> None:
    with file.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise ValueError(f"{subject} must be a GGUF file, but {file} does not begin like one.")


def _convert(file: Path, folder: Path, subject: str) -> None:
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds
    from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, **source)
    except Exception as error:
        raise _unreadable(file, subject, error) from error
    with torch.device("meta"):
        model = type(read)(type(read.config)(**_plain(read.config)))
    model.load_state_dict(read.state_dict(), strict=True, assign=True)  # the tensors themselves: no second copy
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
