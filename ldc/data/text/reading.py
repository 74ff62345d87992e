"""Texts of a source as lists: what calibration draws from, and what perplexity is measured on."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ldc.data.text.sources import Document, Mixture, TextSource, Unit
from ldc.data.text.sources.base import SPLITS

_NOTHING_HELD_OUT = (
    "the text of {} must have held-out documents, but it has none: raise held_out, or give files of their own."
)
_TOO_LITTLE = (
    "the held-out text of {} must have at least {} tokens, one window, and {} bytes cannot be as many: raise held_out, "
    "or give files of their own."
)
MOST_DOCUMENTS = 100_000  # of a larger corpus the first ones are taken: they lie in memory
MOST_LOOKED_AT = 20_000  # documents of a corpus that are looked at before work begins: some seconds
SPECIAL_TOKENS = 2  # of a document at most: EOS behind it, and what some tokenizers put before the first word
log = logging.getLogger(__name__)


def documents(source: TextSource, split: str, cache: Path | None = None) -> Iterator[tuple[str, Document]]:
    """Yields (name of its part, document) of one split, in the source's order."""
    for unit in source.units(cache):
        yield from ((unit.name, document) for document in of_split(unit, split))


def of_split(unit: Unit, split: str) -> Iterator[Document]:
    """Yields the unit's documents of one split; a unit that is known to have none is not read."""
    if unit.split in {None, split}:
        yield from (document for document, _ in unit.read() if document.split == split)


def calibration_texts(source: TextSource, cache: Path | None = None, limit: int = MOST_DOCUMENTS) -> list[str]:
    """Returns texts of the train split: of a mixture, those of the part that it names for calibration.

    Args:
        limit: documents; of a larger corpus the first ones are taken.

    Raises:
        ValueError: an input is missing, or there is no text.
    """
    if isinstance(source, Mixture) and source.calibration is not None:
        source = source.parts[source.calibration]
    source.check()
    texts = [document.text for _, document in islice(documents(source, "train", cache), limit)]
    if len(texts) == limit:
        log.info("Calibration draws from the first %d documents of %s.", limit, source.name)
    if not texts:
        raise ValueError(f"the text of {source.name} must have documents to train on, but it has none.")
    return texts


def held_out_texts(source: TextSource, cache: Path | None = None, limit: int = MOST_DOCUMENTS) -> dict[str, list[str]]:
    """Returns {part: held-out texts}, the parts apart; a source that is no mixture has one part.

    Args:
        source: of the texts.
        cache: where the source puts what it fetches.
        limit: documents of a part; of a larger one the first ones are taken.

    Raises:
        ValueError: an input is missing, or nothing is held out.
    """
    texts: dict[str, list[str]] = {}
    for unit in source.units(cache):
        room = limit - len(texts.get(unit.name, ()))
        found = [document.text for document in islice(of_split(unit, "held_out"), room)]
        if found:
            texts.setdefault(unit.name, []).extend(found)
    for part, kept in texts.items():
        if len(kept) == limit:
            log.info("Held-out texts are the first %d documents of %s.", limit, part)
    if not texts:
        raise ValueError(_NOTHING_HELD_OUT.format(source.name))
    return texts


def check_held_out(source: TextSource, parts: Sequence[str], key: str, least: int = 1) -> None:
    """Checks that text is held out, of these parts, too, as far as can be told without fetching and tokenising.

    Of text that is on this machine the first documents are read, until there may be enough; a token is at least a byte.

    Args:
        source: of the texts.
        parts: names of parts; none: any will do.
        key: of the setting that names them, for the message.
        least: tokens that are needed, of each part that is named, or of all together.

    Raises:
        ValueError: nothing is held out, or of a part nothing, or less than is needed, or there is no such part.
    """
    # A source alone is a part of its name, without the version behind it.
    named: Any = source.parts if isinstance(source, Mixture) else {source.name.partition("-")[0]: source}
    found = [name for name, part in named.items() if _holds_out(part)]
    if not found:
        raise ValueError(_NOTHING_HELD_OUT.format(source.name))
    unknown = [part for part in parts if part not in found]
    if unknown:
        raise ValueError(f"{key} must name held-out texts of the data ({', '.join(found)}), not {unknown[0]!r}.")
    for part in parts:
        _check_enough(part, [named[part]], least)
    if not parts:
        _check_enough(source.name, list(named.values()), least)


def _check_enough(name: str, sources: Sequence[Any], least: int) -> None:
    size = documents = 0
    for source in sources:
        read = source.local_documents("held_out") if hasattr(source, "local_documents") else None
        if read is None:
            return
        for looked_at, document in enumerate(read, start=1):
            if document.split == "held_out":
                size, documents = size + len(document.text.encode()), documents + 1
            if (documents and size + SPECIAL_TOKENS * documents >= least) or looked_at == MOST_LOOKED_AT:
                return
    raise ValueError(_TOO_LITTLE.format(name, least, size) if documents else _NOTHING_HELD_OUT.format(name))


def _holds_out(source: Any) -> bool:
    return getattr(source, "held_out_path", None) is not None or getattr(source, "held_out", 1) > 0


def count(source: TextSource, cache: Path | None = None) -> dict[str, dict[str, dict[str, int]]]:
    """Returns {part: {split: {"documents", "characters"}}}; everything is read once."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for unit in source.units(cache):
        splits = counts.setdefault(unit.name, {split: {"documents": 0, "characters": 0} for split in SPLITS})
        for document, _ in unit.read():
            splits[document.split]["documents"] += 1
            splits[document.split]["characters"] += len(document.text)
    return counts
