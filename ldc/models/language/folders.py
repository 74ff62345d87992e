"""Reads transformers folders and hub ids strictly: the stated precision, every tensor, and none too many."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ldc.families.llama import check_causal
from ldc.models.folders import find_folder
from ldc.models.language.packed import QUANTISED, is_packed, read_packed
from ldc.models.language.tensors import fill
from ldc.models.latent_diffusion import freeze

logger = logging.getLogger(__name__)

CONFIG = "config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_JSON = ["*.json", "tokenizer*", "*.jinja"]
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
_WRONG = {"missing_keys": "lacks", "mismatched_keys": "has other shapes in", "unexpected_keys": "adds"}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


class LanguageModel(NamedTuple):
    """A causal language model, the tokenizer that it was trained with (None: random weights), and its folder if any."""

    model: Any
    tokenizer: Any
    folder: Path | None


def find_language_folder(path_or_id: str, subject: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """Returns a local transformers folder, or the snapshot of a hub id: its config and tokenizer, and its weights.

    Raises:
        ValueError: it is neither an existing folder nor a hub id that can be reached.
    """
    folder = find_folder(path_or_id, subject, revision, _JSON + [_WEIGHTS[0]] * weights)
    if weights and not Path(path_or_id).expanduser().is_dir() and not any(folder.glob(_WEIGHTS[0])):
        folder = find_folder(path_or_id, subject, revision, [*_JSON, _WEIGHTS[1]])
    return folder


def read_language_config(folder: Path, subject: str) -> dict[str, Any]:
    """Returns the content of `config.json`, checked.

    Raises:
        ValueError: there is none, it is not a language model's, or its weights need a quantiser to be read.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{subject} must be a transformers folder, but {folder} has no {CONFIG}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} must be JSON, but reading it failed: {error}.") from error
    if "model_type" not in config:
        raise ValueError(f"{subject} must be a transformers model, but {path} names no model_type.")
    check_causal(config)
    if config.get(QUANTISED) and not is_packed(config):
        raise ValueError(
            f"{subject} must have plain weights, or such as ldc.quantize writes, "
            f"but {path} has a {QUANTISED} of another kind."
        )
    return config


def check_language_folder(folder: Path, subject: str) -> dict[str, Any]:
    """Checks config and presence of weights without reading these; returns the config.

    Raises:
        ValueError: as `read_language_config`, or there are no weights.
    """
    config = read_language_config(folder, subject)
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ValueError(f"{subject} must have weights, but {folder} has no model.safetensors or pytorch_model.bin.")
    return config


def build_config(config: dict[str, Any], subject: str) -> Any:
    """Returns transformers' config of a `config.json`'s content.

    Raises:
        ValueError: transformers does not know it, or refuses its values.
    """
    from transformers.models.auto.configuration_auto import AutoConfig  # noqa: PLC0415 - costs seconds

    values = {
        key: value for key, value in config.items() if key not in {"model_type", "dtype", "torch_dtype", QUANTISED}
    }
    try:
        return AutoConfig.for_model(config["model_type"], **values)
    except Exception as error:  # huggingface_hub has an error class of its own for values that a config refuses
        raise ValueError(f"{subject} must have a config that transformers takes, but: {_first_line(error)}.") from error


def build_model(config: Any, subject: str, dtype: torch.dtype) -> Any:
    """Returns the causal language model of transformers' config, on the device and with the weights of the context.

    Built in `dtype`, not cast to it: a cast would round the rotary frequencies, too, which stay in float32.

    Raises:
        ValueError: it is no language model of the family.
    """
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds

    try:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except ValueError as error:
        raise ValueError(f"{subject} must be a decoder-only language model, but is {config.model_type!r}.") from error
    check_causal(model)
    return model


def load_language_folder(folder: Path, subject: str, dtype: torch.dtype) -> LanguageModel:
    """Loads a transformers folder: frozen, in evaluation mode, on the CPU, in the given precision whatever is stored.

    Raises:
        ValueError: a file is missing or damaged, or the weights are not exactly the tensors of the config.
    """
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    config = check_language_folder(folder, subject)
    if is_packed(config):
        return _load_packed(folder, subject, dtype, config)
    build_config(config, subject)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # torch, safetensors, pickle and transformers each have their own
        raise ValueError(f"{subject} must have readable weights, but in {folder}: {_first_line(error)}.") from error
    # Missing tensors would only be warned of and drawn at random, those of another shape too.
    for key, rule in _WRONG.items():
        if wrong := sorted(_name(entry) for entry in info[key]):
            raise ValueError(
                f"{subject} must have exactly the tensors of its config, but {folder} {rule} {len(wrong)}, "
                f"first {wrong[0]!r}."
            )
    check_causal(model)
    _say_precision(config, dtype, folder)
    return LanguageModel(freeze(model), load_tokenizer(folder), folder)


def _load_packed(folder: Path, subject: str, dtype: torch.dtype, config: dict[str, Any]) -> LanguageModel:
    model = build_empty(config, subject, dtype)
    fill(model, read_packed(folder, config, dtype), folder, subject)
    return finish(model, folder)


def build_empty(config: dict[str, Any], subject: str, dtype: torch.dtype) -> Any:
    """Returns the model of a `config.json`'s content on the CPU, its weights not yet set and not yet in memory.

    Not on the meta device: buffers that no file holds, such as rotary frequencies, are computed.

    Raises:
        ValueError: it is no language model of the family.
    """
    from transformers.initialization import no_init_weights  # noqa: PLC0415 - costs seconds

    with no_init_weights():
        model = build_model(build_config(config, subject), subject, dtype)
    model.tie_weights()  # what would have done so was left out with the initialisation
    return model


def finish(model: Any, folder: Path) -> LanguageModel:
    """Gives a model whose weights are set what else its folder holds: settings of generation and the tokenizer."""
    from transformers.generation.configuration_utils import GenerationConfig  # noqa: PLC0415 - costs seconds

    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return LanguageModel(freeze(model), load_tokenizer(folder), folder)


def _name(entry: Any) -> str:
    return str(entry[0]) if isinstance(entry, tuple) else str(entry)  # (name, stored shape, wanted shape)


def _say_precision(config: dict[str, Any], dtype: torch.dtype, folder: Path) -> None:
    stored = config.get("dtype") or config.get("torch_dtype")
    wanted = str(dtype).removeprefix("torch.")
    if stored is not None and stored != wanted:
        logger.info("The weights of %s are stored in %s and loaded in %s.", folder, stored, wanted)


def load_tokenizer(folder: Path) -> Any:
    """Returns the tokenizer of a folder, or None where it has none.

    Raises:
        ValueError: it is damaged.
    """
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return None
    from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: PLC0415 - costs seconds

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises Exception itself
        raise ValueError(f"tokenizer in {folder} must be readable, but: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")
