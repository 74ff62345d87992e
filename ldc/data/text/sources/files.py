"""Your own text: files, folders and patterns of jsonl, json, txt and WebDataset tars, of any size.

Files are read from start to end, a document at a time; a unit is one file, or several small ones.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path

from braceexpand import braceexpand

from ldc.data.cache import default_cache
from ldc.data.encode import source_identity
from ldc.data.remote import fetch_all, is_remote
from ldc.data.report import SkipReport
from ldc.data.text.sources.base import Document, Unit, check_share, split_of
from ldc.data.text.sources.formats import SUFFIXES, Reading, is_text, read_file

UNIT_MB = 64  # small files are packed together up to this size


@dataclass(frozen=True)
class TextFiles:
    """Documents of `path`: each line of a jsonl, item of a json list, sample of a tar, and the parts of a txt.

    Args:
        path: a file, a folder (read at any depth), a glob or brace pattern, an address of a tar; or a list of them.
        text_key: the field of a json record that holds its text.
        held_out: share of the documents kept out of training, by a hash of their keys; not used with held_out_path.
        held_out_path: files as in `path`, all of which are held out.
        chars_per_document: a txt file is cut at blank lines into documents of about so many characters, and at any
            line's end where none follows for as many again.
        max_skipped: largest allowed share of a unit's records that are damaged or have no text.
    """

    path: str | Path | Sequence[str]
    text_key: str = "text"
    held_out: float = 0.1
    held_out_path: str | Path | Sequence[str] | None = None
    chars_per_document: int = 8000
    max_skipped: float = 0.01

    @property
    def name(self) -> str:
        """`text_files`."""
        return "text_files"

    def check(self) -> None:
        """Raises ValueError when a path matches no text, or a setting cannot be; reads nothing."""
        check_share(self.held_out)
        SkipReport(self.max_skipped)
        if self.chars_per_document < 1:
            raise ValueError(f"chars_per_document must be at least 1, not {self.chars_per_document}.")
        self._files(None)

    def units(self, cache: Path | None = None) -> list[Unit]:
        """Returns the units of the training files, then of held-out ones; remote tars are copied into the cache."""
        self.check()
        cache = cache or default_cache()
        files, kept_out = self._files(cache)
        share = self.held_out if self.held_out_path is None else 0.0
        return self._grouped(files, share) + self._grouped(kept_out, 1.0)

    def local_documents(self, split: str) -> Iterator[Document] | None:
        """Returns the documents of the files that may have this split, None where some must be fetched first."""
        if self.held_out_path is None:
            path, share = self.path, self.held_out
        else:
            path, share = (self.held_out_path, 1.0) if split == "held_out" else (self.path, 0.0)
        if any(is_remote(pattern) for pattern in _patterns(path)):
            return None
        return (document for document, _ in self._read(expand(path), share))

    def _files(self, cache: Path | None) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
        """Returns (files of `path`, files of `held_out_path`); no file may be both, to be trained on and held out."""
        files = expand(self.path, cache)
        if self.held_out_path is None:
            return files, []
        kept_out = expand(self.held_out_path, cache)
        both = {path.resolve() for _, path in files} & {path.resolve() for _, path in kept_out}
        if both:
            raise ValueError(f"path and held_out_path must share no file, but {min(both)} is in both.")
        return files, kept_out

    def _grouped(self, files: list[tuple[str, Path]], held_out: float) -> list[Unit]:
        groups: list[list[tuple[str, Path]]] = []
        room = 0
        for name, path in files:
            size = path.stat().st_size
            if not groups or size > room:
                groups.append([])
                room = UNIT_MB << 20
            groups[-1].append((name, path))
            room -= size
        return [self._unit(group, held_out) for group in groups]

    def _unit(self, files: list[tuple[str, Path]], held_out: float) -> Unit:
        settings = (self.text_key, held_out, self.chars_per_document)
        content = [(name, source_identity(path)["hash"]) for name, path in files]
        identity = hashlib.sha256(repr((settings, content)).encode()).hexdigest()[:16]
        size = sum(path.stat().st_size for _, path in files)
        split = {0.0: "train", 1.0: "held_out"}.get(held_out)
        return Unit(self.name, identity, size, partial(self._read, files, held_out), split)

    def _read(self, files: list[tuple[str, Path]], held_out: float) -> Iterator[tuple[Document, int]]:
        report = SkipReport(self.max_skipped)
        before = 0
        for name, path in files:
            for part, text, done in read_file(path, Reading(name, self.text_key, self.chars_per_document, report)):
                key = f"{name}:{part}"
                yield Document(key, text, split_of(key, held_out)), before + done
            before += path.stat().st_size
        report.check()


def expand(path: str | Path | Sequence[str], cache: Path | None = None) -> list[tuple[str, Path]]:
    """Returns (name that keys begin with, file) of each file that paths and patterns mean, in order.

    Args:
        path: as in `TextFiles`.
        cache: where remote tars are copied to; None leaves them out.

    Raises:
        ValueError: a path does not exist, or matches no file of text.
    """
    patterns = _patterns(path)
    if not patterns:
        raise ValueError("path must name at least one file of text, but the list is empty.")
    return [file for pattern in patterns for file in _expand_one(pattern, cache)]


def _patterns(path: str | Path | Sequence[str]) -> list[str]:
    return [str(path)] if isinstance(path, str | Path) else [str(pattern) for pattern in path]


def _expand_one(pattern: str, cache: Path | None) -> list[tuple[str, Path]]:
    if is_remote(pattern):
        urls = list(braceexpand(pattern))
        tars = [] if cache is None else fetch_all(urls, cache)
        return [(Path(url).name, Path(tar)) for url, tar in zip(urls, tars, strict=False)]
    plain = Path(pattern).expanduser()
    if plain.is_dir():
        found = [(str(file.relative_to(plain)), file) for file in sorted(plain.rglob("*")) if is_text(file)]
    elif plain.is_file():
        found = [(plain.name, plain)] if is_text(plain) else []
    else:
        names = [name for part in braceexpand(str(plain)) for name in _matches(part)]
        if not names:
            raise ValueError(f"path must be an existing file, folder or pattern of text, not {pattern!r}.")
        found = [(file.name, file) for file in map(Path, names) if is_text(file)]
    if not found:
        raise ValueError(f"path must hold {', '.join(SUFFIXES)} files (also as .gz or .zst), but {pattern} has none.")
    return found


def _matches(name: str) -> list[str]:
    if Path(name).is_file():
        return [name]
    return sorted(glob(name, recursive=True)) if has_magic(name) else []  # noqa: PTH207  the pattern may be absolute
