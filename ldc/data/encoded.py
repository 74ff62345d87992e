"""A folder of cached latents: what encoding writes and the readers of latents open.

Legend: C latent channels, h x w latent size, n captions of a sample, L tokens, D text width.

    manifest.json      written last: a folder that has one is complete
    empty_text.npy     states of "", (1, L, D) float16, where text is encoded
    00000.tar ...      one for each source shard; a sample is KEY.json (captions, metadata), KEY.moments.npy
                       (2 C, h, w) float16, KEY.flipped.npy (the same of the mirrored image, where flips are encoded)
                       and KEY.text.npy (n, L, D) float16, where text is encoded
    00000.json ...     counts of that shard, and what was skipped in it
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldc.data.manifest import MANIFEST, read_manifest

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
        self.manifest: dict[str, Any] = read_manifest(self.folder, "encoded shards")
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
