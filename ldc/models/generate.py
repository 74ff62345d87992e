"""Text to image and image to image with any teacher or student.

Image i of a call is a pure function of (weights, prompt, settings, seed, i): the batch size has no part in it beyond
rounding. So two models that are given the same seed start from the same noise.

Legend: N images, B images of a batch, C latent channels, h x w latent size, H x W pixels, L tokens, D text width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ldc.diffusion.sampling import default_method, fresh_noise_seeds, initial_noise, sample
from ldc.models.latent_diffusion import Guidance, LatentDiffusion, encode_text


def generate(
    parts: LatentDiffusion,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance_scale: float | None = None,
    seed: int,
    init_image: Image.Image | None = None,
    strength: float = 1.0,
    batch_size: int = 16,
) -> list[Image.Image]:
    """Returns one picture a prompt.

    Args:
        parts: the model; its scheduler config decides between DDIM and LCM sampling.
        prompts: any texts.
        steps: sampling steps.
        guidance_scale: diffusers' scale, the model's default where None.
        seed: of all noise.
        init_image: picture to start from (resized to the model's size), for every prompt.
        strength: in (0, 1], how much of `init_image` is replaced.
        batch_size: prompts of one pass.

    Raises:
        ValueError: a guidance outside the range of the model, or steps or a strength out of range.
    """
    init_latents = None if init_image is None else encode_image(parts, init_image)
    if init_image is None and strength != 1.0:
        raise ValueError(f"strength must be 1 where there is no init_image, not {strength}.")
    images = render(
        parts,
        prompts,
        steps=steps,
        guidance_scale=guidance_scale,
        seed=seed,
        batch_size=batch_size,
        init_latents=init_latents,
        strength=strength,
    )
    return [to_picture(image) for image in images]


def render(
    parts: LatentDiffusion,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance_scale: float | None = None,
    seed: int,
    batch_size: int = 16,
    indices: Sequence[int] | None = None,
    text: Mapping[str, Tensor] | None = None,
    init_latents: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Returns uint8 pixels, (N, 3, H, W), on the CPU.

    Args:
        parts: the model.
        prompts: N texts.
        steps: sampling steps.
        guidance_scale: the model's default where None.
        seed: of all noise.
        batch_size: prompts of one pass.
        indices: places of the images in the stream of noises, 0 to N - 1 where None.
        text: cached states of captions (see `embed`), so that many settings encode each caption once.
        init_latents: (1, C, h, w) scaled latents to start from.
        strength: in (0, 1], how much of `init_latents` is replaced.
    """
    scale = checked_guidance(parts.guidance, guidance_scale)
    indices = range(len(prompts)) if indices is None else indices
    text = embed(parts, prompts, batch_size) if text is None else text
    batches = []
    for start in range(0, len(prompts), batch_size):
        captions = prompts[start : start + batch_size]
        latents = draw_latents(
            parts,
            torch.stack([text[caption] for caption in captions]),
            text[""][None],
            indices=indices[start : start + batch_size],
            steps=steps,
            guidance_scale=scale,
            seed=seed,
            init_latents=init_latents,
            strength=strength,
        )
        batches.append(decode(parts, latents))
    return torch.cat(batches) if batches else torch.empty(0, 3, 0, 0, dtype=torch.uint8)


def draw_latents(
    parts: LatentDiffusion,
    text: Tensor,
    empty_text: Tensor,
    *,
    indices: Sequence[int],
    steps: int,
    guidance_scale: float,
    seed: int,
    init_latents: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Returns scaled latents of one batch, (B, C, h, w), from text states (B, L, D) and those of "" (1, L, D)."""
    device = next(parts.unet.parameters()).device
    noise = initial_noise(seed, indices, latent_shape(parts)).to(device)
    if init_latents is not None:
        init_latents = init_latents.to(device).expand_as(noise)
    return sample(
        parts.unet,
        parts.scheduler_config,
        text=text.to(device),
        empty_text=empty_text.to(device),
        noise=noise,
        steps=steps,
        guidance_scale=guidance_scale,
        convention=parts.guidance.convention,
        seeds=fresh_noise_seeds(seed, indices),
        method=default_method(parts.scheduler_config),
        init_latents=init_latents,
        strength=strength,
    )


def checked_guidance(guidance: Guidance, scale: float | None) -> float:
    """Returns the guidance scale to use: the default where `scale` is None.

    Where two passes are combined ("cfg"), any scale from 0 is legal: the range is that of its few-step students.

    Raises:
        ValueError: the scale is negative, or outside the range that the model was trained for.
    """
    if scale is None:
        return guidance.default
    if guidance.convention == "cfg":
        if not scale >= 0:
            raise ValueError(f"guidance_scale must be at least 0, not {scale:g}.")
        return float(scale)
    low, high = guidance.range
    if not low <= scale <= high:
        raise ValueError(f"guidance_scale must be in [{low:g}, {high:g}], the range of this model, not {scale:g}.")
    return float(scale)


@torch.no_grad()
def embed(parts: LatentDiffusion, captions: Sequence[str], batch_size: int = 64) -> dict[str, Tensor]:
    """Returns {caption: (L, D) states} of the distinct captions and of ""."""
    distinct = list(dict.fromkeys(["", *captions]))
    starts = range(0, len(distinct), batch_size)
    states = torch.cat([encode_text(parts, distinct[start : start + batch_size]) for start in starts])
    return dict(zip(distinct, states, strict=True))


@torch.no_grad()
def decode(parts: LatentDiffusion, latents: Tensor) -> Tensor:
    """Returns uint8 pixels (B, 3, H, W) on the CPU of scaled latents (B, C, h, w)."""
    vae, config = parts.vae, parts.vae.config
    parameter = next(vae.parameters())
    unscaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    pixels = vae.decode(unscaled.to(parameter.device, parameter.dtype), return_dict=False)[0].float()
    return ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


@torch.no_grad()
def encode_image(parts: LatentDiffusion, image: Image.Image) -> Tensor:
    """Returns the scaled latents (1, C, h, w) of a picture, the posterior's mode, resized to the model's size."""
    vae, config = parts.vae, parts.vae.config
    parameter = next(vae.parameters())
    factor = 2 ** (len(config.block_out_channels) - 1)
    height, width = (side * factor for side in latent_shape(parts)[1:])
    resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(1, height, width, 3)
    pixels = pixels.permute(0, 3, 1, 2).to(parameter.device, torch.float32) / 127.5 - 1.0
    mode = vae.encode(pixels.to(parameter.dtype)).latent_dist.mode().float()
    return (mode - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor


def latent_shape(parts: LatentDiffusion) -> tuple[int, int, int]:
    """Returns (C, h, w) of the latents that the U-Net was made for."""
    config: Any = parts.unet.config
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return config.in_channels, height, width


def to_picture(image: Tensor) -> Image.Image:
    """Returns the picture of uint8 pixels (3, H, W)."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
