"""The file formats of text: how documents come out of jsonl, json, txt and tar, one at a time.

jsonl, json and txt may be compressed, as .gz or .zst (SlimPajama's form).

A record that is damaged or lacks its text is passed over, counted and named; a blank one is passed over.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from ldc.data.report import SkipReport
from ldc.data.samples import split_name

SUFFIXES = (".jsonl", ".json", ".txt", ".tar")
_LINES = (".jsonl", ".ndjson")
_PLAIN = (".txt", ".md", ".text")
_TARS = (".tar", ".tgz")
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class Reading:
    """How one file is read."""

    name: str  # in messages
    text_key: str
    chars_per_document: int
    report: SkipReport

    def text(self, record: Any, place: str) -> str | None:
        """Returns a json record's text, None where it has none, which is counted."""
        text = record.get(self.text_key) if isinstance(record, dict) else record if isinstance(record, str) else None
        if not isinstance(text, str):
            return self.skip(f"no text under {self.text_key!r}", place)
        self.report.keep()
        return text if text.strip() else None  # lists of paragraphs have blank ones: no damage

    def skip(self, reason: str, place: str) -> None:
        """Counts what cannot be used."""
        self.report.skip(reason, f"{self.name}:{place}")


def is_text(path: Path) -> bool:
    """Returns whether a file is of a format that is read."""
    return path.is_file() and _format(path) in (*_LINES, *_PLAIN, *_TARS, ".json")


def read_file(path: Path, reading: Reading) -> Iterator[tuple[str, str, int]]:
    """Yields (what names the document in its file, its text, bytes of the file read so far).

    Raises:
        ValueError: a json file is not a list of records.
    """
    kind = _format(path)
    reader = _lines if kind in _LINES else _pieces if kind in _PLAIN else _samples if kind in _TARS else _items
    with path.open("rb") as raw:
        for part, text in reader(_decompressed(raw, path.suffix.lower(), kind), reading):
            yield part, text, raw.tell()


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _COMPRESSED else suffix


def _decompressed(raw: BinaryIO, suffix: str, kind: str) -> Any:
    if suffix == ".gz" and kind not in _TARS:  # tarfile decompresses by itself
        return gzip.GzipFile(fileobj=raw)
    if suffix == ".zst":
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw


def _lines(stream: BinaryIO, reading: Reading) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:  # covers bad UTF-8
            reading.skip("unreadable line", str(number))
            continue
        if (text := reading.text(record, str(number))) is not None:
            yield str(number), text


def _items(stream: BinaryIO, reading: Reading) -> Iterator[tuple[str, str]]:
    try:
        records = json.load(stream)
    except ValueError as error:
        raise ValueError(f"{reading.name} must be JSON, but it is not: {error}.") from error
    for number, record in enumerate(records if isinstance(records, list) else [records], 1):
        if (text := reading.text(record, str(number))) is not None:
            yield str(number), text


def _pieces(stream: BinaryIO, reading: Reading) -> Iterator[tuple[str, str]]:
    number, lines, length = 1, [], 0
    for line in stream:
        text = line.decode(errors="replace")
        lines.append(text)
        length += len(text)
        # BookCorpus and its like have no blank lines: a file would be one document, larger than the memory.
        if length >= reading.chars_per_document * (1 if not text.strip() else 2):
            if piece := "".join(lines).strip():
                reading.report.keep()
                yield str(number), piece
                number += 1
            lines, length = [], 0
    if piece := "".join(lines).strip():
        reading.report.keep()
        yield str(number), piece


def _samples(stream: BinaryIO, reading: Reading) -> Iterator[tuple[str, str]]:
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            members = (member for member in tar if member.isfile())
            for key, group in groupby(members, lambda member: split_name(member.name)[0]):
                files = {split_name(member.name)[1]: _content(tar, member) for member in group}
                if (text := _sample_text(key, files, reading)) is not None:
                    yield key, text
    except (tarfile.TarError, EOFError, OSError) as error:
        reading.skip(f"damaged tar ({error})", "")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    name = split_name(member.name)[1]
    file = tar.extractfile(member) if name in {"txt", "json"} else None  # a picture beside the text is not read
    return file.read() if file else b""


def _sample_text(key: str, files: dict[str, bytes], reading: Reading) -> str | None:
    try:
        record = files["txt"].decode() if "txt" in files else json.loads(files["json"]) if "json" in files else None
    except ValueError:
        return reading.skip("unreadable sample", key)
    return reading.text(record, key)
