"""The draws that a reader makes for each sample: caption, caption dropout, flip, and the posterior's noise.

Legend: B batch, C latent channels, h x w latent size.

Cached latents and online encoding take the same draws, so they give the same batches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldc.randomness import integers, normal, on_device, uniform

FLIP_SHARE = 0.5
LOG_VARIANCE_RANGE = (-30.0, 20.0)  # diffusers' DiagonalGaussianDistribution


def caption_index(seed: int, position: int, num_captions: int) -> int:
    """Returns which of a sample's captions is read at a position."""
    return 0 if num_captions == 1 else int(integers(seed, "caption", [position], num_captions))


def is_dropped(seed: int, position: int, dropout: float) -> bool:
    """Returns whether the caption at a position is replaced by the empty one, for classifier-free guidance."""
    return dropout > 0 and bool(uniform(seed, "dropout", [position]) < dropout)


def is_flipped(seed: int, position: int) -> bool:
    """Returns whether the image at a position is mirrored: one in two."""
    return bool(uniform(seed, "flip", [position]) < FLIP_SHARE)


def sample_posterior(moments: Tensor, scaling_factor: float, seed: int, positions: Tensor | Sequence[int]) -> Tensor:
    """Returns scaling_factor x (mean + exp(log variance / 2) x noise of the position), float32, (B, C, h, w).

    Args:
        moments: mean and log variance from the VAE's encoder, (B, 2 C, h, w).
        scaling_factor: the VAE's.
        seed: of the stream.
        positions: B places in the stream.
    """
    mean, log_variance = moments.float().chunk(2, dim=1)
    std = torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE))
    noise = on_device(normal(seed, "posterior", positions, mean.shape[1:]), mean)
    return scaling_factor * (mean + std * noise)  # (B, C, h, w)


def check_dropout(dropout: float) -> float:
    """Returns a caption dropout that is a fraction, or raises ValueError."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"caption_dropout must be in [0, 1], not {dropout!r}.")
    return dropout
