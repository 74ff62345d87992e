"""What a checkpoint's folder holds: every file with its size and hash, written once all of them are on the disk."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

FILE = "manifest.json"
SCHEMA = 1


class Entry(NamedTuple):
    """What is known of one file."""

    bytes: int
    sha256: str  # hex digits


@dataclass(frozen=True)
class Manifest:
    """A whole checkpoint: where training stood, and the files by their name inside the folder."""

    step: int  # optimizer steps
    samples_seen: int  # over all ranks
    world_size: int
    batch_size: int | None  # samples of one optimizer step over all ranks; None: the data do not say
    sharded: bool  # the state is a folder to which all ranks have written
    files: Mapping[str, Entry]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.files.values())


def contents(folder: Path) -> Iterator[Path]:
    """Yields the files below a checkpoint's folder, its manifest left out, in a fixed order."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / FILE)


def entry(path: Path) -> Entry:
    """Reads a file through for its size and hash."""
    with path.open("rb") as file:
        return Entry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, the last file of a checkpoint."""
    files = {name: known._asdict() for name, known in sorted(manifest.files.items())}
    content = {"schema": SCHEMA, **asdict(manifest), "files": files}
    (folder / FILE).write_text(json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> Manifest:
    """Returns the manifest of a checkpoint's folder, whose files are not looked at.

    Raises:
        ValueError: there is none, or it is not a manifest of this schema.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{FILE} is missing")
    try:
        content = json.loads(path.read_text())
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise ValueError(f"{FILE} has schema {schema!r}, not {SCHEMA}")
        files = {name: Entry(**known) for name, known in content.pop("files").items()}
        return Manifest(files=files, **content)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error


def damage(folder: Path, *, hashes: bool = True) -> str | None:
    """Returns what is wrong with a checkpoint's folder, or None where it is whole.

    Args:
        hashes: read the files through; False compares their sizes only.
    """
    try:
        manifest = read(folder)
    except ValueError as error:
        return str(error)
    for name, known in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != known.bytes:
            return f"{name} has {size} bytes, not {known.bytes}"
        if hashes and entry(path) != known:
            return f"{name} is not what was written: its sha256 is another"
    return None if manifest.files else "it holds no files"
