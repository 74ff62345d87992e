"""Encodes during training what is not cached: pixels by the teacher's VAE, captions by its text encoder.

Legend: B batch, C latent channels, h x w latent size, S pixel size, L tokens, D text width.
"""

import torch
from torch import Tensor

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.data.draws import sample_posterior
from ldc.models import LatentDiffusion, encode_text

CHUNK = 16  # images in one call of the VAE, whose activations are the largest of a step


class OnlineEncoder:
    """Turns an ImageTextBatch into a LatentBatch, by the frozen parts of a teacher.

    The posterior's noise is `ldc.data.draws`', as with cached latents: both give the same batch, up to the rounding of
    the cache to float16. The states of the empty caption are made once.

    Args:
        teacher: gives the VAE, the text encoder and the tokenizer.
        seed: of the data's draws.
    """

    def __init__(self, teacher: LatentDiffusion, seed: int):
        self.teacher = teacher
        self.seed = seed
        self._empty: Tensor | None = None  # (1, L, D)

    def to(self, device: torch.device) -> "OnlineEncoder":
        """Moves the encoders."""
        self.teacher.vae.to(device)
        self.teacher.text_encoder.to(device)
        self._empty = None
        return self

    @torch.no_grad()
    def __call__(self, batch: ImageTextBatch) -> LatentBatch:
        latents = batch.latents if batch.pixels is None else self.latents(batch.pixels, batch.positions)
        if latents is None:
            raise ValueError("a batch must hold pixels or latents, but it has neither.")
        if self._empty is None:
            self._empty = encode_text(self.teacher, [""])
        text = encode_text(self.teacher, batch.captions)  # (B, L, D)
        return LatentBatch(latents, text, self._empty, batch.positions, batch.keys)

    def latents(self, pixels: Tensor, positions: Tensor) -> Tensor:
        """Returns scaled samples of the posterior, (B, C, h, w), of pixels (B, 3, S, S) in [-1, 1]."""
        vae = self.teacher.vae
        weight = next(vae.parameters())
        moments = [
            vae.encode(chunk.to(weight.device, weight.dtype)).latent_dist.parameters for chunk in pixels.split(CHUNK)
        ]
        return sample_posterior(torch.cat(moments), float(vae.config.scaling_factor), self.seed, positions)
