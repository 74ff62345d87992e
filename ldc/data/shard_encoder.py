"""Encodes one shard: from decoded images and captions to a tar of moments and text states, complete or absent.

Legend: B batch, C latent channels, h x w latent size, S pixel size, n captions of a sample, L tokens, D text width.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ldc.data.encoded import EMPTY_TEXT
from ldc.data.manifest import write_atomically, write_json
from ldc.data.samples import SkippedSampleError
from ldc.data.sharded import ShardedSamples
from ldc.data.transforms import decode, to_pixels


class Encoders(Protocol):
    """Frozen encoders, such as `ldc.data.encoders.FrozenEncoders`."""

    fingerprint: str
    scaling_factor: float

    def moments(self, pixels: Tensor) -> Tensor: ...  # (B, 3, S, S) in [-1, 1] -> (B, 2 C, h, w)

    def text(self, captions: list[str]) -> Tensor: ...  # B texts -> (B, L, D)


class Decoded(NamedTuple):
    """A sample with its image as pixels, or with the reason why it is skipped."""

    key: str
    captions: list[str]
    metadata: dict[str, Any]
    pixels: Tensor | None  # (3, S, S); None where the image is corrupt
    reason: str  # why the sample is skipped


class DecodedImages(Dataset[Decoded]):
    """Decoded images, (3, S, S), with what makes one unusable as a value: an error would end the loader."""

    def __init__(self, samples: ShardedSamples, size: int):
        self.samples = samples
        self.size = size

    def __getitem__(self, number: int) -> Decoded:
        sample = self.samples.sample(number)
        keep = partial(Decoded, sample["key"], sample["captions"], sample["metadata"])
        try:
            return keep(to_pixels(decode(sample["image"], sample["key"]), self.size), "")
        except SkippedSampleError as error:
            return keep(None, error.reason)


class ShardEncoder:
    """Writes encoded shards, and the record of each, into one folder.

    A record is {"file", "source", "samples", "captions", "skipped": [[reason, key], ...]}.
    """

    def __init__(self, encoders: Encoders, folder: Path, *, size: int, text: bool, flip: bool):
        self.encoders = encoders
        self.folder = folder
        self.size = size
        self.text = text
        self.flip = flip

    def finished(self, number: int) -> dict[str, Any] | None:
        """Returns the record of a shard that is there, else None."""
        # The tar is renamed after its record is written, so it is the tar that says the shard is complete.
        if not (self.folder / f"{number:05d}.tar").is_file():
            return None
        return json.loads((self.folder / f"{number:05d}.json").read_text())

    def encode(
        self, number: int, source: Path, batches: Iterable[list[Decoded]], advance: Callable[[int], Any]
    ) -> dict[str, Any]:
        """Writes shard `number` and returns its record; `advance` is told the samples of each batch."""
        record: dict[str, Any] = {"file": f"{number:05d}.tar", "source": source.name}
        record |= {"samples": 0, "captions": 0, "skipped": []}

        def write(file: BinaryIO) -> None:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for batch in batches:
                    self._write_batch(tar, batch, record)
                    advance(len(batch))
            write_json(self.folder / f"{number:05d}.json", record)

        write_atomically(self.folder / record["file"], write)
        return record

    def shapes(self) -> dict[str, Any]:
        """Returns latent_shape [C, h, w] and text_shape [L, D] or None; writes the states of the empty caption."""
        channels, height, width = self.encoders.moments(torch.zeros(1, 3, self.size, self.size)).shape[1:]
        shapes: dict[str, Any] = {"latent_shape": [channels // 2, height, width], "text_shape": None}
        if self.text:
            empty = _half(self.encoders.text([""]))  # (1, L, D)
            shapes["text_shape"] = list(empty.shape[1:])
            write_atomically(self.folder / EMPTY_TEXT, lambda file: np.save(file, empty))
        return shapes

    def _write_batch(self, tar: tarfile.TarFile, batch: list[Decoded], record: dict[str, Any]) -> None:
        record["skipped"] += [[item.reason, item.key] for item in batch if item.pixels is None]
        batch = [item for item in batch if item.pixels is not None]
        if not batch:
            return
        for item, members in zip(batch, self._encode_batch(batch), strict=True):
            if not all(np.isfinite(member).all() for member in members.values()):
                record["skipped"].append(["not finite in float16", item.key])
                continue
            _add(tar, f"{item.key}.json", json.dumps({**item.metadata, "captions": item.captions}).encode())
            for name, member in members.items():
                _add(tar, f"{item.key}.{name}.npy", _npy(member))
            record["samples"] += 1
            record["captions"] += len(item.captions)

    def _encode_batch(self, batch: list[Decoded]) -> list[dict[str, np.ndarray]]:
        pixels = torch.stack([item.pixels for item in batch if item.pixels is not None])  # (B, 3, S, S)
        arrays: dict[str, Any] = {"moments": _half(self.encoders.moments(pixels))}  # (B, 2 C, h, w)
        if self.flip:
            arrays["flipped"] = _half(self.encoders.moments(pixels.flip(-1)))
        if self.text:
            ends = np.cumsum([len(item.captions) for item in batch])
            states = _half(self.encoders.text([caption for item in batch for caption in item.captions]))
            arrays["text"] = np.split(states, ends[:-1])  # B of (n, L, D)
        return [{name: values[place] for name, values in arrays.items()} for place in range(len(batch))]


def _half(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float16).cpu().numpy()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
