"""From a teacher's config to what it says, for diffusion and for language models, and to a hash of its weights."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from ldc.models import Teacher
from ldc.runtime.paths import CONF, locate

if TYPE_CHECKING:
    from ldc.models.language import LanguageTeacher

_ENDS_KB = 64
_LANGUAGE = "LanguageTeacher"  # the class of configs of language models: its module is imported where it is needed
_WEIGHTS = frozenset({".safetensors", ".bin", ".gguf"})


def teacher_spec(config: Any) -> Teacher:
    """Returns what a `teacher` group's config says of a diffusion model, shipped paths resolved.

    Raises:
        ValueError: it names a language model.
    """
    if names_language_model(config):
        raise ValueError(
            f"teacher must be a latent diffusion model here, not the language model {config['path_or_id']!r}: choose "
            "teacher=emoji_ldm, or an experiment of language models, such as +experiment=shortened_llama_lora."
        )
    spec = instantiate(config)
    return replace(spec, path_or_id=locate(spec.path_or_id))


def language_spec(config: Any, key: str = "teacher") -> "LanguageTeacher":
    """Returns what a `teacher` group's config says of a language model, shipped paths resolved.

    A folder or hub id that the command line gave as `teacher=NAME`, the `custom` teacher, is one where it is no
    StableDiffusionPipeline.

    Args:
        config: of a teacher.
        key: by which the user named it.

    Raises:
        ValueError: it names a diffusion model.
    """
    from ldc.models.language import LanguageTeacher  # noqa: PLC0415 - of use to language models alone

    if _class(config) == _LANGUAGE:
        spec = instantiate(config)
        return replace(spec, path_or_id=locate(spec.path_or_id))
    path = locate(config["path_or_id"])
    if config.get("architecture") is not None or (Path(path).expanduser() / "model_index.json").is_file():
        raise ValueError(
            f"{key} must be a language model here, not the latent diffusion model {config['path_or_id']!r}: choose "
            f"{key}=smollm2_135m, or a folder of transformers with a causal language model."
        )
    return LanguageTeacher(path, **{name: config[name] for name in ("weights", "revision", "seed")})


def names_language_model(config: Any) -> bool:
    """Tells whether a `teacher` group's config names a language model: by its class, or by the model's config.json."""
    if _class(config) == _LANGUAGE:
        return True
    return config.get("architecture") is None and holds_language_model(locate(config["path_or_id"]))


def named_teacher(name: str) -> Any | None:
    """Returns a teacher's config by its name, or by the folder that ships with the project, of which the config knows.

    None where no config is meant.
    """
    for path in (CONF / "teacher").glob("*.yaml"):
        if path.stem.startswith("custom"):
            continue
        config: Any = OmegaConf.load(path)
        folder = Path(locate(config.path_or_id))
        if name == path.stem or (folder.is_dir() and Path(locate(name)).resolve() == folder.resolve()):
            return config
    return None


@cache
def holds_language_model(path_or_id: str) -> bool:
    """Tells by its config.json whether a folder, a run's folder or a hub id holds a model of transformers.

    A hub id that cannot be reached holds none.
    """
    if (Path(path_or_id).expanduser() / "model_index.json").is_file():
        return False
    from ldc.models.language import is_language_model  # noqa: PLC0415 - of use to language models alone

    return is_language_model(path_or_id)


def teacher_identity(spec: "Teacher | LanguageTeacher") -> str:
    """Returns a hash of the teacher's weights (sizes, starts and ends of the files), or of its hub id and revision.

    A language model's is that of its tokenizer and of the precision of its weights, too.
    """
    path = Path(spec.path_or_id).expanduser()
    digest = hashlib.sha256()
    dtype = getattr(spec, "dtype", None)
    if dtype is not None:
        digest.update(f"dtype {dtype} ".encode())
    if spec.weights == "random" or not path.exists():
        digest.update(repr((spec.path_or_id, spec.revision, spec.weights, spec.architecture, spec.seed)).encode())
        return f"teacher-{digest.hexdigest()[:16]}"
    tokenizer = set() if dtype is None else {"tokenizer.json", "tokenizer.model"}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix in _WEIGHTS or file.name.endswith("config.json") or file.name in tokenizer:
            digest.update(f"{file.relative_to(path) if file != path else file.name} {file.stat().st_size}".encode())
            digest.update(_ends(file))
    return f"teacher-{digest.hexdigest()[:16]}"


def _ends(file: Path) -> bytes:
    with file.open("rb") as opened:
        start = opened.read(_ENDS_KB << 10)
        opened.seek(max(0, file.stat().st_size - (_ENDS_KB << 10)))
        return start + opened.read()


def _class(config: Any) -> str:
    return str(config["_target_"]).rpartition(".")[2]
