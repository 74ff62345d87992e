"""A text-to-image latent diffusion model in parts: what a teacher and a student are to the rest of the project.

Legend: B batch, L tokens, D text width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Guidance(NamedTuple):
    """How guidance reaches the U-Net, as diffusers' `guidance_scale` (LCM's w is the scale minus 1).

    convention: "cfg" (two passes are combined), "embedded" (the scale is an input of the U-Net) or "none".
    """

    convention: str = "cfg"
    default: float = 7.5
    range: tuple[float, float] = (1.0, 20.0)


DEFAULT_GUIDANCE = Guidance()


@dataclass
class LatentDiffusion:
    """The parts of a StableDiffusionPipeline; `folder` is where they lie on disk, None if they were built here."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    guidance: Guidance = DEFAULT_GUIDANCE
    folder: Path | None = None


def freeze(module: Any) -> Any:
    """Returns the module in evaluation mode, its parameters without gradients."""
    return module.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def encode_text(parts: LatentDiffusion, captions: Sequence[str]) -> Tensor:
    """Returns the text encoder's last hidden states of the captions, (B, L, D), padded and cut to its full length.

    Raises:
        ValueError: the model has no tokenizer, as when it was built with random weights.
    """
    if parts.tokenizer is None:
        raise ValueError("tokenizer must be there to encode captions, but a model with random weights has none.")
    length = min(parts.tokenizer.model_max_length, parts.text_encoder.config.max_position_embeddings)
    tokens = parts.tokenizer(
        list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return parts.text_encoder(tokens.input_ids.to(parts.text_encoder.device))[0]


def check_parts(parts: LatentDiffusion, subject: str) -> None:
    """Checks that U-Net, VAE and text encoder belong together.

    Raises:
        ValueError: they disagree in latent channels or text width.
    """
    check_configs(parts.unet.config, parts.vae.config, parts.text_encoder.config.to_dict(), subject)


def check_configs(
    unet: Mapping[str, Any], vae: Mapping[str, Any], text_encoder: Mapping[str, Any], subject: str
) -> None:
    """Checks by their configs, where keys left out have the libraries' defaults, that three parts belong together.

    Raises:
        ValueError: they disagree in latent channels or text width.
    """
    latents, outputs = vae.get("latent_channels", 4), unet.get("out_channels", 4)
    if outputs != latents:
        raise ValueError(f"{subject} must have a U-Net for the {latents} latent channels of its VAE, not {outputs}.")
    width, hidden = _text_width(unet), text_encoder.get("hidden_size", 512)
    if width != hidden:
        raise ValueError(f"{subject} must have a U-Net for the text width {hidden} of its text encoder, not {width}.")


def check_compatible(teacher: Any, student: Any) -> None:
    """Checks that a student can be distilled from a teacher; each is a LatentDiffusion or a U-Net.

    Raises:
        ValueError: they disagree in latent channels or text width.
    """
    teacher, student = getattr(teacher, "unet", teacher), getattr(student, "unet", student)
    for name in ("in_channels", "out_channels"):
        wanted, found = teacher.config[name], student.config[name]
        if wanted != found:
            raise ValueError(f"student must have the teacher's {wanted} latent channels ({name}), not {found}.")
    wanted, found = _text_width(teacher.config), _text_width(student.config)
    if wanted != found:
        raise ValueError(f"student must have the teacher's text width {wanted}, not {found}.")


def _text_width(unet: Mapping[str, Any]) -> int:
    width = unet.get("encoder_hid_dim") or unet.get("cross_attention_dim", 1280)
    return width if isinstance(width, int) else width[0]
