"""From a `data` group's config to texts: for calibration, for perplexity, for training on instructions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ldc.data.text import reading
from ldc.data.text.instructions import Instructions
from ldc.data.text.sources import TextSource
from ldc.runtime.paths import cache_folder
from ldc.runtime.sources import data_source

if TYPE_CHECKING:
    from ldc.data.text.module import InstructionDataModule


def text_source(config: Any) -> TextSource:
    """Returns the configured source of text.

    Raises:
        ValueError: the data are not text.
    """
    source: Any = data_source(config)
    if not hasattr(source, "units"):
        raise ValueError(f"data must be text for this, such as texts, kjv or text_files, not {source.name}.")
    return source


def check_held_out(config: Any, parts: Sequence[str], key: str, least: int = 1) -> None:
    """Checks that the data are text that is there and that some of it is held out, of the parts that `key` names, too.

    Args:
        config: a `data` group.
        parts: names of parts; none: any will do.
        key: of the setting that names them.
        least: tokens that must be held out, of each part that is named, or of all together.

    Raises:
        ValueError: it is not so, as far as can be told without fetching and tokenising.
    """
    source = text_source(config)
    source.check()
    reading.check_held_out(source, parts, key, least)


def calibration_texts(config: Any, cache: str | None = None) -> list[str]:
    """Returns texts of the train split; of a mixture, those of the part that calibrates.

    Args:
        config: a `data` group of text.
        cache: folder for what is fetched; null is the default cache.
    """
    return reading.calibration_texts(text_source(config), cache_folder(cache))


def held_out_texts(config: Any, part: str | None = None, cache: str | None = None) -> list[str]:
    """Returns held-out texts, of all parts or of the named one (see `held_out_parts`).

    Raises:
        ValueError: nothing is held out, or there is no such part.
    """
    parts = held_out_parts(config, cache)
    if part is not None and part not in parts:
        raise ValueError(f"part must be one of {', '.join(parts)}, not {part!r}.")
    return [text for name, texts in parts.items() if part in {None, name} for text in texts]


def held_out_parts(config: Any, cache: str | None = None) -> dict[str, list[str]]:
    """Returns {part: held-out texts}, such as pydoc and kjv of `data=texts`."""
    return reading.held_out_texts(text_source(config), cache_folder(cache))


def instruction_source(config: Any) -> Instructions:
    """Returns the configured source of instructions.

    Raises:
        ValueError: the data are something else.
    """
    source: Any = data_source(config)
    if not hasattr(source, "records"):
        raise ValueError(f"data must be instructions for this, such as data=instructions, not {source.name}.")
    return source


def instruction_module(
    config: Any, tokenizer: Any, batch_size: int, seed: int, **reading: Any
) -> "InstructionDataModule":
    """Returns the data module of a `data` group of instructions.

    Args:
        config: the group; it says which instructions are held out.
        tokenizer: the student's.
        reading: cutoff (tokens), num_workers.
    """
    from ldc.data.text.module import InstructionDataModule  # noqa: PLC0415 - imports lightning

    held_out = {"num_held_out": config.num_held_out, "split_seed": config.split_seed}
    return InstructionDataModule(instruction_source(config), tokenizer, batch_size, seed, **held_out, **reading)


def text_counts(config: Any, cache: str | None = None) -> dict[str, Any] | None:
    """Returns {part: {split: {"documents", "characters"}}} of texts, or the number of instructions; None of images."""
    source: Any = data_source(config)
    if hasattr(source, "units"):
        return reading.count(source, cache_folder(cache))
    return {source.name: {"instructions": len(source.records())}} if hasattr(source, "records") else None
