"""A folder of cached latents: what encoding writes and the readers of latents open.

Legend: C latent channels, h x w latent size, n captions of a sample, L tokens, D text width.

    manifest.json      written last: a folder that has one is complete
    empty_text.npy     states of "", (1, L, D) float16, where text is encoded
    00000.tar ...      one for each source shard; a sample is KEY.json (captions, metadata), KEY.moments.npy
                       (2 C, h, w) float16, KEY.flipped.npy (the same of the mirrored image, where flips are encoded)
                       and KEY.text.npy (n, L, D) float16, where text is encoded
    00000.json ...     counts of that shard, and what was skipped in it
"""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

MANIFEST = "manifest.json"
EMPTY_TEXT = "empty_text.npy"
SCHEMA = 1


class Encoded:
    """A finished folder of cached latents.

    Attributes:
        manifest: schema, key, fingerprint, scaling_factor, latent_shape [C, h, w], text_shape [L, D] or None, flip,
            samples, captions, skipped, filtered, options, shards and sources.
        empty_text: states of "", (1, L, D) float32, or None where no text is encoded.

    Raises:
        ValueError: the folder is not a finished one, or of another schema.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not is_finished(self.folder):
            raise ValueError(f"{self.folder} must be a folder of encoded shards, but it has no {MANIFEST}.")
        self.manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text())
        if self.manifest.get("schema") != SCHEMA:
            raise ValueError(
                f"{self.folder / MANIFEST} must have schema {SCHEMA}, not {self.manifest.get('schema')!r}."
            )
        self.tars = [self.folder / shard["file"] for shard in self.manifest["shards"]]
        self.empty_text: Tensor | None = None
        if self.manifest["text_shape"] is not None:
            self.empty_text = torch.from_numpy(np.load(self.folder / EMPTY_TEXT)).float()  # (1, L, D)

    def __len__(self) -> int:
        return self.manifest["samples"]


def is_finished(folder: Path) -> bool:
    """Returns whether a folder holds a complete cache."""
    return (folder / MANIFEST).is_file()


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes a file under a temporary name, flushes it to disk and renames it, so that it is complete or absent."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, complete or absent."""
    write_atomically(path, lambda file: file.write(json.dumps(content, indent=1, ensure_ascii=False).encode()))
