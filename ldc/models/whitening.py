"""Whitens an autoencoder's latents for diffusion: each channel gets mean 0 and variance 1, the scaling factor is 1.

    mean' = (mean - mu) / sd,   log variance' = log variance - 2 log sd,   decode'(z) = decode(sd z + mu)

mu, sd are those of the channel over images and places. The change is folded into the 1x1 convolutions around the
latents, so decode'(encode'(x)) = decode(encode(x)), and the posterior's samples are whitened with its mean.

Legend: B batch, C latent channels, h x w latent size, H x W pixel size.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LEAST = 1e-6  # a deviation below this is rounding


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of the posterior's means."""

    mean: Tensor  # (C,)
    std: Tensor  # (C,)


@torch.no_grad()
def whiten(vae: Any, pixels: Iterable[Tensor]) -> ChannelStatistics:
    """Whitens in place, sets the config's scaling factor to 1, and returns the statistics that were folded in.

    Args:
        vae: diffusers' AutoencoderKL with `quant_conv` and `post_quant_conv`.
        pixels: batches (B, 3, H, W) in [-1, 1], normally the whole training set.

    Raises:
        ValueError: the autoencoder lacks these convolutions or shifts its latents, or a channel does not vary.
    """
    if vae.quant_conv is None or vae.post_quant_conv is None:
        raise ValueError("vae must have quant_conv and post_quant_conv to be whitened, but its config turns them off.")
    if vae.config.shift_factor:
        raise ValueError(f"vae must have no shift_factor to be whitened, not {vae.config.shift_factor!r}.")
    statistics = channel_statistics(vae, pixels)
    if not (statistics.std > _LEAST).all():
        raise ValueError(f"every latent channel must vary over the images, not deviate by {statistics.std.tolist()}.")
    mean, std = (value.to(vae.quant_conv.weight) for value in statistics)
    into, out_of, channels = vae.quant_conv, vae.post_quant_conv, len(mean)
    into.weight[:channels] /= std.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight *= std.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0)
    return statistics


@torch.no_grad()
def channel_statistics(vae: Any, pixels: Iterable[Tensor]) -> ChannelStatistics:
    """Returns mean and deviation of each latent channel over the images, summed up in float64.

    Raises:
        ValueError: there is no batch.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in pixels:
        means = vae.encode(batch).latent_dist.mean.double().transpose(0, 1).flatten(1).cpu()  # (C, B h w)
        count += means.shape[1]
        total, squares = total + means.sum(1), squares + means.square().sum(1)
    if not count:
        raise ValueError("pixels must hold at least one image to whiten by, not none.")
    mean = total / count
    return ChannelStatistics(mean, (squares / count - mean.square()).clamp(min=0).sqrt())
