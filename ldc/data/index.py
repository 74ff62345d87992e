"""The offset index of a tar: where each sample's members stand, so that any of them is read by one seek.

The index is made by one pass over the headers (the contents are not read), saved beside the tar or, where that folder
is read-only, in the cache, and made anew when the tar's size or modification time changes. A truncated tar yields the
complete samples before the cut.

Legend: N samples, E extensions.
"""

import hashlib
import logging
import os
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ldc.data.cache import default_cache
from ldc.data.samples import split_name

SCHEMA = 1
BLOCK = tarfile.BLOCKSIZE
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Index:
    """Where the members of one tar's samples stand."""

    tar: Path
    keys: list[str]  # N, in the tar's order
    extensions: list[str]  # E
    spans: np.ndarray  # (N, E, 2) int64: offset and size in bytes; offset -1 where the sample lacks the member
    truncated: str | None  # where the tar breaks off, None for a whole tar

    def __len__(self) -> int:
        return len(self.keys)

    def members(self, place: int) -> dict[str, tuple[int, int]]:
        """Returns {extension: (offset, size)} of one sample, in bytes from the start of the tar."""
        spans = self.spans[place].tolist()
        return {name: (span[0], span[1]) for name, span in zip(self.extensions, spans, strict=True) if span[0] >= 0}


def build_index(tar: Path | str, cache: Path | None = None) -> Index:
    """Returns the index of a tar, from the saved one where it is still valid.

    Args:
        tar: a local, uncompressed tar.
        cache: where the index is saved when the tar's folder is read-only; None is the default cache.

    Raises:
        ValueError: the tar does not exist.
    """
    tar = Path(tar)
    if not tar.is_file():
        raise ValueError(f"a shard must be an existing tar file, not {str(tar)!r}.")
    if found := saved_index(tar, cache):
        return found
    index = scan(tar)
    for place in _places(tar, cache):
        if _save(place, index, _stamp(tar)):
            break
    return index


def saved_index(tar: Path, cache: Path | None = None) -> Index | None:
    """Returns the index of a tar from where `build_index` saved it, None where none is valid; nothing is written."""
    found = (_load(place, tar, _stamp(tar)) for place in _places(tar, cache))
    return next((index for index in found if index is not None), None)


def scan(tar: Path) -> Index:
    """Returns the index of a tar by a pass over its headers; nothing is saved."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    truncated = None
    with tar.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for name, offset, length in _headers(file, size):
                key, extension = split_name(name)
                if offset + length > size:
                    samples.pop(key, None)
                    raise tarfile.ReadError(f"member {name} ends after the file's end")
                samples.setdefault(key, {}).setdefault(extension, (offset, length))
        except tarfile.TarError as error:
            truncated = str(error)
            _drop_unfinished(samples)
    extensions = sorted({extension for members in samples.values() for extension in members})
    spans = np.full((len(samples), len(extensions), 2), -1, dtype=np.int64)
    for place, members in enumerate(samples.values()):
        for extension, span in members.items():
            spans[place, extensions.index(extension)] = span
    return Index(tar, list(samples), extensions, spans, truncated)


def _headers(file: BinaryIO, size: int) -> Iterator[tuple[str, int, int]]:
    """Yields (name, offset of the contents, size) of each regular file; a missing end mark is a TarError.

    tarfile's own iteration ends without a word at a damaged header, so only its header parser is used.
    """
    name, length, position = None, None, 0
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        if block == bytes(BLOCK):  # the regular end
            return
        try:
            header = tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no header at byte {position} of {size}: {error}") from error
        content = position + BLOCK
        position = content + -(-header.size // BLOCK) * BLOCK
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = file.read(header.size).rstrip(b"\0").decode(errors="surrogateescape")
        elif header.type == tarfile.XHDTYPE:
            fields = _pax_fields(file.read(header.size))
            name, length = fields.get("path", name), fields.get("size")
        elif header.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            if length is not None:
                header.size = int(length)
                position = content + -(-header.size // BLOCK) * BLOCK
            if header.isreg():
                yield name or header.name, content, header.size
            name, length = None, None


def _pax_fields(content: bytes) -> dict[str, str]:
    fields = {}
    while content:
        length = content.split(b" ", 1)[0]
        if not length.isdigit() or not int(length):
            break
        record, content = content[len(length) + 1 : int(length) - 1], content[int(length) :]
        name, _, value = record.partition(b"=")
        fields[name.decode(errors="replace")] = value.decode(errors="surrogateescape")
    return fields


def _drop_unfinished(samples: dict[str, dict[str, tuple[int, int]]]) -> None:
    """Drops the last sample before a cut when it lacks a member that the one before it has."""
    if len(samples) > 1:
        before, last = list(samples)[-2:]
        if set(samples[last]) < set(samples[before]):
            del samples[last]


def _places(tar: Path, cache: Path | None) -> list[Path]:
    """Returns where the index is looked for, and saved in the first that can be written to."""
    digest = hashlib.sha256(str(tar.resolve()).encode()).hexdigest()[:16]
    return [tar.with_name(f"{tar.name}.index.npz"), (cache or default_cache()) / "index" / f"{tar.stem}-{digest}.npz"]


def _stamp(tar: Path) -> list[int]:
    status = tar.stat()
    return [SCHEMA, status.st_size, status.st_mtime_ns]


def _load(place: Path, tar: Path, stamp: list[int]) -> Index | None:
    try:
        with np.load(place, allow_pickle=False) as saved:
            if saved["stamp"].tolist() != stamp:
                return None
            keys, extensions = saved["keys"].tolist(), saved["extensions"].tolist()
            return Index(tar, keys, extensions, saved["spans"], str(saved["truncated"]) or None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError) as error:
        log.warning("the saved index %s is unreadable and is made anew: %s", place, error)
        return None


def _save(place: Path, index: Index, stamp: list[int]) -> bool:
    """Writes the index by rename; returns False where that is impossible (a read-only folder, a full disk)."""
    arrays = {
        "stamp": np.array(stamp, dtype=np.int64),
        "keys": np.array(index.keys, dtype=str),
        "extensions": np.array(index.extensions, dtype=str),
        "spans": index.spans,
        "truncated": np.array(index.truncated or ""),
    }
    temporary = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(place)
    except OSError as error:
        log.debug("the index %s is not saved: %s", place, error)
        temporary.unlink(missing_ok=True)
        return False
    return True
