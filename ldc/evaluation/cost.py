"""What one image costs: parameters and MACs of the U-Net, and the wall-clock time from text states to pixels."""

from typing import Any

import torch

from ldc import profiling
from ldc.models.generate import checked_guidance, decode, draw_latents, latent_shape
from ldc.models.latent_diffusion import LatentDiffusion


def cost(
    parts: LatentDiffusion, *, steps: int, guidance_scale: float | None = None, repeats: int = 3
) -> dict[str, Any]:
    """Returns {"params", "macs", "macs_without_attention", "unet_passes", "latency"}.

    MACs are those of one U-Net pass for one image; `unet_passes` is how many an image takes, where classifier-free
    guidance doubles the steps; latency is the median time of one image in seconds, sampler and VAE decoder, batch 1.

    Args:
        parts: the model.
        steps: sampling steps.
        guidance_scale: the model's default where None.
        repeats: images timed.
    """
    scale = checked_guidance(parts.guidance, guidance_scale)
    config = parts.text_encoder.config
    text = torch.zeros(1, config.max_position_embeddings, config.hidden_size)  # costs depend on the shape alone

    def one_image() -> torch.Tensor:
        latents = draw_latents(parts, text, text, indices=[0], steps=steps, guidance_scale=scale, seed=0)
        return decode(parts, latents)

    doubled = parts.guidance.convention == "cfg" and scale != 1.0
    return {
        "params": profiling.params(parts.unet),
        **profiling.macs(parts.unet, latent_shape(parts)[1], text.shape[1]),
        "unet_passes": steps * (2 if doubled else 1),
        "latency": profiling.latency(one_image, repeats),
    }
