"""What folders of a cache have in common: a manifest, written last, and files that are complete or absent."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ldc.permissions import share

MANIFEST = "manifest.json"


def is_finished(folder: Path) -> bool:
    """Returns whether a folder holds a complete cache."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path, content: str) -> dict[str, Any]:
    """Returns the manifest of a finished folder; its schema is for the caller to check.

    Args:
        folder: of a cache.
        content: what the folder must hold, for the message.

    Raises:
        ValueError: the folder is not a finished one.
    """
    if not is_finished(folder):
        raise ValueError(f"{folder} must be a folder of {content}, but it has no {MANIFEST}.")
    return json.loads((folder / MANIFEST).read_text())


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes a file under a temporary name, flushes it to disk and renames it, so that it is complete or absent."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        share(Path(temporary))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, complete or absent."""
    write_atomically(path, lambda file: file.write(json.dumps(content, indent=1, ensure_ascii=False).encode()))
