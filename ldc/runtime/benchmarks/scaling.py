"""Stable Diffusion made smaller so that its parts keep their shares of the work.

With scale s the image's side is divided by s, and all widths and the number of text tokens by s^2. Then each product of
a layer, be it of weights (pixels x width^2) or of attention (pixels^2 x width), shrinks by s^6, in the VAE, the U-Net
and the text encoder alike. Only the few layers from and to pixels, latents and timesteps fall out of line.

Legend: B batch, L tokens.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ldc.models.architectures import Architecture, architecture
from ldc.models.folders import check_conditions
from ldc.models.latent_diffusion import freeze

_GROUPS = 32  # of all norms in Stable Diffusion


def scaled(name: str, scale: int) -> Architecture:
    """Returns the configs of an architecture divided by `scale`; 1 leaves it as it is.

    Raises:
        ValueError: there is no such architecture, its U-Net takes more than text, or its widths cannot be divided so.
    """
    full, width = architecture(name), scale**2
    check_conditions(full.unet, "architecture")
    if scale < 1 or any(size % width for size in (*full.unet["block_out_channels"], _GROUPS)):
        raise ValueError(f"scale must be a whole number whose square divides all widths of {name}, not {scale}.")
    groups = {"norm_num_groups": _GROUPS // width}
    unet = {
        "sample_size": full.unet["sample_size"] // scale,
        "block_out_channels": [size // width for size in full.unet["block_out_channels"]],
        "cross_attention_dim": full.unet["cross_attention_dim"] // width,
        "attention_head_dim": _heads(full.unet["attention_head_dim"], width),
    }
    vae = {
        "sample_size": full.vae["sample_size"] // scale,
        "block_out_channels": [size // width for size in full.vae["block_out_channels"]],
    }
    text = {
        "hidden_size": full.text_encoder["hidden_size"] // width,
        "intermediate_size": full.text_encoder["intermediate_size"] // width,
        "num_attention_heads": _heads(full.text_encoder["num_attention_heads"], width),
        "max_position_embeddings": round(full.text_encoder["max_position_embeddings"] / width),
    }
    return Architecture(
        unet={**full.unet, **unet, **groups},
        vae={**full.vae, **vae, **groups},
        text_encoder={**full.text_encoder, **text},
        scheduler=full.scheduler,
    )


def _heads(heads: Any, width: int) -> Any:
    """A U-Net's `attention_head_dim` is its number of heads, for all levels or for each."""
    return [_heads(one, width) for one in heads] if isinstance(heads, list) else max(1, heads // width)


def meta_networks(configs: Architecture) -> tuple[Any, Any, Any]:
    """Returns the U-Net, the VAE and the text encoder on the meta device, without weights."""
    with torch.device("meta"):
        return _unet(configs.unet), *encoders(configs)


def _unet(config: Mapping[str, Any]) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415 - costs seconds

    return freeze(UNet2DConditionModel.from_config(dict(config)))


def encoders(configs: Architecture) -> tuple[Any, Any]:
    """Returns a VAE and a text encoder with random weights, frozen."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415 - costs seconds
    from transformers.models.clip.configuration_clip import CLIPTextConfig  # noqa: PLC0415
    from transformers.models.clip.modeling_clip import CLIPTextModel  # noqa: PLC0415

    vae = freeze(AutoencoderKL.from_config(configs.vae))
    return vae, freeze(CLIPTextModel(CLIPTextConfig(**configs.text_encoder)))


def materialised(meta: Any, dtype: torch.dtype = torch.float32) -> Any:
    """Returns a network on the CPU with random weights, made in `dtype`: there is never a second copy of them.

    Raises:
        ValueError: the network holds more than the parameters of layers that can initialise themselves.
    """
    if any(True for _ in meta.buffers()):
        raise ValueError(f"{type(meta).__name__} must have no buffers to be given random weights, but it has some.")
    network = nn.Module.to(copy.deepcopy(meta), dtype).to_empty(device="cpu")  # diffusers' own `to` warns of nothing
    layers: list[Any] = [
        module for module in network.modules() if next(module.parameters(recurse=False), None) is not None
    ]
    for layer in layers:
        layer.reset_parameters()
    return network
