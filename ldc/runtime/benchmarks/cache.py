"""Cached latents without a model behind them: as real ones are written and read, with random contents.

Legend: B batch, C latent channels, h x w latent size, L tokens, D text width.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ldc.data.encode import encode_shards
from ldc.data.encoded import Encoded
from ldc.data.shard_writer import NewSample, write_shards
from ldc.models.architectures import Architecture

_PIXELS = 8  # the pictures count for nothing: the encoders below do not look at them


class RandomEncoders:
    """Encoders that answer with noise in the shapes of real ones."""

    scaling_factor = 0.18215

    def __init__(self, latent_shape: Sequence[int], text_shape: Sequence[int], seed: int = 0):
        self.latent_shape, self.text_shape = tuple(latent_shape), tuple(text_shape)
        self.fingerprint = f"random {self.latent_shape} {self.text_shape} {seed}"
        self._generator = torch.Generator().manual_seed(seed)

    def moments(self, pixels: Tensor) -> Tensor:
        """Returns (B, 2 C, h, w)."""
        channels, height, width = self.latent_shape
        return torch.randn(len(pixels), 2 * channels, height, width, generator=self._generator)

    def text(self, captions: list[str]) -> Tensor:
        """Returns (B, L, D)."""
        return torch.randn(len(captions), *self.text_shape, generator=self._generator)


def shapes(configs: Architecture) -> tuple[list[int], list[int]]:
    """Returns [C, h, w] and [L, D] of a model's cached samples."""
    side, text = configs.unet["sample_size"], configs.text_encoder
    return [configs.vae["latent_channels"], side, side], [text["max_position_embeddings"], text["hidden_size"]]


def random_cache(folder: Path, configs: Architecture, samples: int, samples_per_shard: int = 1000) -> Encoded:
    """Writes shards of tiny pictures into `folder` and encodes them there; returns the cache."""
    latent_shape, text_shape = shapes(configs)
    source = folder / "source"
    source.mkdir(parents=True)
    write_shards(source, (_sample(number) for number in range(samples)), samples_per_shard)
    encoders: Any = RandomEncoders(latent_shape, text_shape)
    return encode_shards(sorted(source.glob("*.tar")), encoders, folder / "latents", size=_PIXELS, progress=False)


def _sample(number: int) -> NewSample:
    buffer = io.BytesIO()
    Image.new("RGB", (_PIXELS, _PIXELS)).save(buffer, "png")
    return NewSample("train", f"{number:06d}", "png", buffer.getvalue(), {"caption": f"picture {number}"})
