"""The parts of a teacher in the making: built from settings, and read from the stage that made them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from omegaconf import OmegaConf
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.models import freeze

VAE, UNET, TEXT_ENCODER, TOKENIZER = "vae", "unet", "text_encoder", "tokenizer"
SCHEDULER = "scheduler.json"


def build(kind: Any, architecture: Mapping[str, Any], **known: Any) -> Any:
    """Returns a diffusers model or scheduler of these settings; `known` are those that other parts decide.

    Raises:
        ValueError: a setting is not one of the model's, or they do not go together.
    """
    try:
        return kind(**{**known, **plain(architecture)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"architecture must be settings of {kind.__name__}, but {str(error).rstrip('.')}.") from error


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings as plain containers, as libraries write them into their configs."""
    found: Any = OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else dict(settings)
    return found


def downscale(vae_architecture: Mapping[str, Any]) -> int:
    """Returns pixels per latent along one side."""
    return 2 ** (len(vae_architecture["block_out_channels"]) - 1)


def load_autoencoder(stage: Path, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    """Returns the autoencoder that a stage left, frozen, in evaluation mode."""
    vae = AutoencoderKL.from_pretrained(stage / VAE, torch_dtype=dtype, local_files_only=True)
    return freeze(_nameless(vae))


def load_unet(stage: Path, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """Returns the U-Net that a stage left."""
    return _nameless(UNet2DConditionModel.from_pretrained(stage / UNET, torch_dtype=dtype, local_files_only=True))


def load_text_encoder(stage: Path, dtype: torch.dtype = torch.float32) -> CLIPTextModel:
    """Returns the text encoder that a stage left."""
    return CLIPTextModel.from_pretrained(stage / TEXT_ENCODER, dtype=dtype, local_files_only=True)


def load_tokenizer(stage: Path) -> CLIPTokenizer:
    """Returns the tokenizer that a stage left."""
    return CLIPTokenizer.from_pretrained(stage / TOKENIZER, local_files_only=True)


def scheduler_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the whole config of a DDIMScheduler with these settings.

    Raises:
        ValueError: a setting is not one of the scheduler's.
    """
    config = build(DDIMScheduler, settings).config
    return {"_class_name": "DDIMScheduler", **{key: config[key] for key in sorted(config) if not key.startswith("_")}}


def load_scheduler_config(stage: Path) -> dict[str, Any]:
    """Returns the scheduler's config that a stage left."""
    return json.loads((stage / SCHEDULER).read_text())


def save_part(model: Any, folder: Path) -> None:
    """Writes a diffusers model."""
    _nameless(model).save_pretrained(folder, safe_serialization=True)


def _nameless(model: Any) -> Any:
    # A saved config must not name this machine's folders.
    model.register_to_config(_name_or_path="")
    return model
