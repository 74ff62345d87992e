"""What `ldc.generate` is asked for of a language model, checked before its weights load; how texts are written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from ldc.runtime.checks import check_device, check_number, check_whole, refuse_settings
from ldc.runtime.drawing import read_prompts

OF_IMAGES = ("steps", "guidance", "num_images", "init_image", "strength", "batch_size", "columns")
OF_TEXTS = ("max_new_tokens", "temperature", "top_p")


class TextRequest(NamedTuple):
    """The prompts, where the texts go, and the settings of `ldc.models.language.continue_texts`."""

    prompts: list[str]
    out: Path
    settings: dict[str, Any]


def read_text_request(cfg: DictConfig) -> TextRequest:
    """Returns what the config asks for.

    Raises:
        ValueError: a setting is outside its range, one of images alone, or a file is missing or of the wrong kind.
    """
    refuse_settings(cfg, "generate", OF_IMAGES, "a language model")
    check_whole(cfg, "max_new_tokens")
    check_whole(cfg, "seed", least=0)
    check_number(cfg, "temperature", above=0, optional=True)
    check_number(cfg, "top_p", above=0, most=1, optional=True)
    if cfg.temperature is None and cfg.top_p is not None:
        raise ValueError(f"top_p must come with temperature, without which nothing is drawn, not {cfg.top_p!r} alone.")
    check_device(cfg.device)
    out = Path(cfg.out or "sample.txt")
    if out.suffix.lower() != ".txt":
        raise ValueError(f"out must end in .txt for a language model, not {cfg.out!r}.")
    settings = {name: cfg[name] for name in (*OF_TEXTS, "seed")}
    return TextRequest(read_prompts(cfg), out, settings)


def save_texts(prompts: Sequence[str], texts: Sequence[str], out: Path) -> None:
    """Writes each prompt with its continuation, an empty line between two."""
    out.parent.mkdir(parents=True, exist_ok=True)
    written = "\n\n".join(f"{prompt}{text}" for prompt, text in zip(prompts, texts, strict=True))
    out.write_text(f"{written}\n", encoding="utf-8")
