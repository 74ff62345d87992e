"""What a source yields and an objective takes.

Legend: B batch, C latent channels, H x W latent (or pixel) size, L tokens, D text width.
"""

from typing import NamedTuple

from torch import Tensor


class ImageTextBatch(NamedTuple):
    """Samples that still need a frozen encoder: pixels, or cached latents whose captions are encoded online.

    Exactly one of `pixels` and `latents` is set.
    """

    pixels: Tensor | None  # (B, 3, H, W) float32 in [-1, 1]
    latents: Tensor | None  # (B, C, H, W), scaled: scaling_factor x posterior sample
    captions: list[str]  # B texts, caption dropout already applied ("" where dropped)
    positions: Tensor  # (B,) int64 place in the endless stream: see ldc.randomness
    keys: list[str]  # B sample keys, for messages


class LatentBatch(NamedTuple):
    """What every objective on latents takes."""

    latents: Tensor  # (B, C, H, W), scaled: scaling_factor x posterior sample
    text: Tensor  # (B, L, D) states of the text encoder
    empty_text: Tensor  # (1, L, D) states of ""
    positions: Tensor  # (B,) int64
    keys: list[str]
