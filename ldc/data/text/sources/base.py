"""What every source of text offers: documents with a key and a split, in units that are packed one at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

SPLITS = ("train", "held_out")


class Document(NamedTuple):
    """One text."""

    key: str  # unique in its source, and the same wherever the source lies
    text: str
    split: str  # train | held_out, a pure function of the key


@dataclass(frozen=True)
class Unit:
    """A part of a source, such as a file, which is read as a whole; it can be pickled, to be read by another process.

    Attributes:
        name: of the part it belongs to; held-out texts of parts are kept apart.
        identity: hash of its content.
        size: what the progress counts in, bytes or characters.
        read: yields (document, how much of `size` was read so far).
        split: that of all its documents, where they share one: who wants the other need not read it.
    """

    name: str
    identity: str
    size: int
    read: Callable[[], Iterator[tuple[Document, int]]]
    split: str | None = None


class TextSource(Protocol):
    """A place that documents come from.

    A source that can be read without fetching has `local_documents(split)`, too: an iterator of Documents, those of the
    split among them, or None where this time something must be fetched.
    """

    @property
    def name(self) -> str:
        """Names the source in logs and reports."""
        ...

    def check(self) -> None:
        """Raises a one-sentence ValueError when the input is not there; reads no document."""
        ...

    def units(self, cache: Path | None = None) -> list[Unit]:
        """Returns the source's units, in order; what must be fetched is fetched into the cache."""
        ...


def split_of(key: str, held_out: float) -> str:
    """Returns the split of a document: `held_out` for that share of all keys, drawn by their hash.

    Args:
        key: the document's.
        held_out: share of documents, 0 to 1.
    """
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "held_out" if draw < held_out else "train"


def check_share(held_out: float) -> None:
    """Raises ValueError unless the share of held-out documents is one that leaves some to train on."""
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out must be a share in [0, 1), not {held_out!r}.")


def unit_in_memory(name: str, documents: Iterable[Document]) -> Unit:
    """Returns the unit of documents that lie in memory."""
    listed = list(documents)
    digest = hashlib.sha256()
    for document in listed:
        digest.update(f"{document.key}\0{document.split}\0{len(document.text)}\0{document.text}".encode())

    size = sum(len(document.text) for document in listed)
    return Unit(name, digest.hexdigest()[:16], size, partial(_read_all, listed))


def _read_all(documents: Sequence[Document]) -> Iterator[tuple[Document, int]]:
    done = 0
    for document in documents:
        done += len(document.text)
        yield document, done
