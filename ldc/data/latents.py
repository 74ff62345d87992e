"""Cached latents as training batches: a map from positions of the endless stream to samples, and their collation.

Legend: B batch, C latent channels, h x w latent size, n captions of a sample, L tokens, D text width.
"""

import io
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.data.draws import caption_index, check_dropout, is_dropped, is_flipped, sample_posterior
from ldc.data.encoded import Encoded
from ldc.data.index import build_index
from ldc.data.order import StreamOrder
from ldc.data.reader import TarReader
from ldc.data.samples import read_text

log = logging.getLogger(__name__)


class EncodedSample(NamedTuple):
    """One sample of a cache."""

    key: str
    moments: np.ndarray  # (2 C, h, w) float16
    flipped: np.ndarray | None  # (2 C, h, w) float16
    text: np.ndarray | None  # (n, L, D) float16
    captions: list[str]  # n; empty where there is text


class LatentItem(NamedTuple):
    """What stands at a position of the stream."""

    position: int
    key: str
    moments: Tensor  # (2 C, h, w) float16
    text: Tensor | None  # (L, D) float16
    caption: str  # "" where dropped, or where there is text


class EncodedReader:
    """Reads single samples of a cache from its tars, in constant time."""

    def __init__(self, encoded: Encoded):
        self._indexes = [build_index(tar) for tar in encoded.tars]
        self._ends = np.cumsum([len(index) for index in self._indexes])
        self._tars = TarReader()
        self._has_text = encoded.manifest["text_shape"] is not None
        if self._ends[-1] != len(encoded):
            raise ValueError(f"{encoded.folder} must hold {len(encoded)} samples, not {self._ends[-1]}.")

    def __getitem__(self, number: int) -> EncodedSample:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        index = self._indexes[shard]
        place = number - int(self._ends[shard]) + len(index)
        skipped = "json" if self._has_text else "text.npy"
        members = self._tars.read(index, place, only=[name for name in index.extensions if name != skipped])
        arrays = {name: np.load(io.BytesIO(content)) for name, content in members.items() if name != "json"}
        captions = read_text(index.keys[place], members)[0] if "json" in members else []
        return EncodedSample(
            index.keys[place], arrays["moments.npy"], arrays.get("flipped.npy"), arrays.get("text.npy"), captions
        )


class EncodedMemory:
    """A cache read as a whole into few large arrays, which forked workers share."""

    def __init__(self, encoded: Encoded):
        reader = EncodedReader(encoded)
        samples = [reader[number] for number in range(len(encoded))]
        self._keys = [sample.key for sample in samples]
        self._captions = [sample.captions for sample in samples]
        self._moments = np.stack([sample.moments for sample in samples])
        flipped = [sample.flipped for sample in samples if sample.flipped is not None]
        self._flipped = np.stack(flipped) if flipped else None
        text = [sample.text for sample in samples if sample.text is not None]
        self._text = np.concatenate(text) if text else None
        self._text_ends = np.cumsum([len(states) for states in text])

    def __getitem__(self, number: int) -> EncodedSample:
        flipped = None if self._flipped is None else self._flipped[number]
        text = None
        if self._text is not None:
            text = self._text[self._text_ends[number - 1] if number else 0 : self._text_ends[number]]
        return EncodedSample(self._keys[number], self._moments[number], flipped, text, self._captions[number])


class LatentDataset(Dataset[LatentItem]):
    """The endless stream over cached latents; `collate` draws the posterior noise and makes the batch.

    Batches are LatentBatch where the cache holds text, else ImageTextBatch with latents and captions. Where flips are
    encoded, one image in two is mirrored.

    Args:
        encoded: the cache.
        seed: of the order and of all draws.
        caption_dropout: share of samples whose caption is replaced by the empty one.
        memory_limit_mb: a cache up to this size is read into memory.
    """

    def __init__(self, encoded: Encoded, seed: int, caption_dropout: float = 0.0, *, memory_limit_mb: int = 512):
        self.size = len(encoded)
        self.seed = seed
        self.caption_dropout = check_dropout(caption_dropout)
        self.empty_text = encoded.empty_text
        self.scaling_factor = encoded.manifest["scaling_factor"]
        self.order = StreamOrder(self.size, seed)
        in_memory = _size_mb(encoded.tars) <= memory_limit_mb
        self.samples = EncodedMemory(encoded) if in_memory else EncodedReader(encoded)
        log.info("Reading %d cached samples from %s.", self.size, "memory" if in_memory else encoded.folder)

    def __getitem__(self, position: int) -> LatentItem:
        sample = self.samples[self.order(position)]
        moments = sample.moments
        if sample.flipped is not None and is_flipped(self.seed, position):
            moments = sample.flipped
        dropped = is_dropped(self.seed, position, self.caption_dropout)
        text, caption = None, ""
        if sample.text is not None and self.empty_text is not None:
            chosen = sample.text[caption_index(self.seed, position, len(sample.text))]
            text = self.empty_text[0] if dropped else torch.from_numpy(chosen)
        elif not dropped:
            caption = sample.captions[caption_index(self.seed, position, len(sample.captions))]
        return LatentItem(position, sample.key, torch.from_numpy(moments), text, caption)

    def collate(self, items: list[LatentItem]) -> LatentBatch | ImageTextBatch:
        """Returns the batch of some positions; latents are scaling_factor x posterior sample, float32."""
        positions = torch.tensor([item.position for item in items])
        moments = torch.stack([item.moments for item in items])  # (B, 2 C, h, w)
        latents = sample_posterior(moments, self.scaling_factor, self.seed, positions)
        keys = [item.key for item in items]
        if self.empty_text is None:
            return ImageTextBatch(None, latents, [item.caption for item in items], positions, keys)
        text = torch.stack([item.text.float() for item in items if item.text is not None])  # (B, L, D)
        return LatentBatch(latents, text, self.empty_text, positions, keys)


def _size_mb(tars: list[Path]) -> float:
    return sum(tar.stat().st_size for tar in tars) / 2**20
