"""Training of an autoencoder for latent diffusion, without an adversary (Rombach et al. 2022, the KL variant).

    z = mean + std eps,  y = decode(z),  d = y - x
    L = mean |d| + mean d^2 + 0.5 (mean |d_x d| + mean |d_y d|) + 1e-4 KL(q(z | x) || N(0, I)) / (C h w)

d_x, d_y are differences of neighbouring pixels: without them the edges of drawings stay soft.

Legend: B batch, H x W pixel size, C latent channels, h x w latent size, x pixels in [-1, 1], y reconstruction.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ldc import randomness
from ldc.data.batch import ImageTextBatch
from ldc.diffusion.process import at_least_float32
from ldc.objectives.base import Draws, Networks, Objective, report


class Reconstructed(NamedTuple):
    """What an autoencoder makes of a batch."""

    pixels: Tensor  # (B, 3, H, W)
    mean: Tensor  # (B, C, h, w)
    log_variance: Tensor  # (B, C, h, w)


class Autoencoding(nn.Module):
    """Encodes, samples with given noise, and decodes in one forward, so that DDP and compile wrap all of it.

    Args:
        vae: diffusers' AutoencoderKL.
    """

    def __init__(self, vae: Any):
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor) -> Reconstructed:
        posterior = self.vae.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * noise  # (B, C, h, w), not scaled
        return Reconstructed(self.vae.decode(latents).sample, posterior.mean, posterior.logvar)

    def enable_gradient_checkpointing(self) -> None:
        """Recomputes activations in the backward pass."""
        self.vae.enable_gradient_checkpointing()


class Reconstruction(Objective):
    """The loss above, for a student that is an `Autoencoding`; it reports the terms absolute, squared, gradient and kl.

    Args:
        latent_channels: C.
        downscale: pixels per latent along one side, H / h.
        absolute_weight, squared_weight, gradient_weight, kl_weight: the weights in the total.
        seed: of the posterior's noise.
    """

    def __init__(
        self,
        latent_channels: int,
        downscale: int,
        absolute_weight: float = 1.0,
        squared_weight: float = 1.0,
        gradient_weight: float = 0.5,
        kl_weight: float = 1e-4,
        *,
        seed: int = 0,
    ):
        super().__init__(process=None, seed=seed)  # pyrefly: ignore  an autoencoder is trained before any process
        self.latent_channels = latent_channels
        self.downscale = downscale
        self.weights = {
            "absolute": absolute_weight,
            "squared": squared_weight,
            "gradient": gradient_weight,
            "kl": kl_weight,
        }

    def draw(self, batch: ImageTextBatch, seed: int) -> Draws:
        """Draws the posterior's noise, (B, C, h, w), for each position; the timesteps are zeros and unused.

        Raises:
            ValueError: the batch holds latents, or its pixels do not divide by `downscale`.
        """
        pixels = _pixels(batch)
        height, width = pixels.shape[-2:]
        if height % self.downscale or width % self.downscale:
            raise ValueError(f"pixel size must be divisible by {self.downscale}, not {height} x {width}.")
        shape = (self.latent_channels, height // self.downscale, width // self.downscale)
        noise = randomness.normal(seed, "posterior", batch.positions, shape)
        return Draws(torch.zeros_like(batch.positions), randomness.on_device(noise, pixels))

    def losses(self, networks: Networks, batch: ImageTextBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns total, absolute, squared, gradient, kl and their weighted forms, scalars."""
        pixels = _pixels(batch)
        made = networks.student(pixels, draws.noise)
        error = at_least_float32(made.pixels) - at_least_float32(pixels)  # (B, 3, H, W)
        terms = {
            "absolute": error.abs().mean(),
            "squared": error.square().mean(),
            "gradient": error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean(),
            "kl": kl_to_standard_normal(made.mean, made.log_variance),
        }
        return report(terms, self.weights)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns the mean over all elements of KL(N(mean, variance) || N(0, 1)) in nats, in at least float32."""
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def _pixels(batch: ImageTextBatch) -> Tensor:
    if batch.pixels is None:
        raise ValueError("batch must hold pixels for an autoencoder, not latents.")
    return batch.pixels
