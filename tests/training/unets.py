"""The U-Net of the tests of training: Stable Diffusion's kinds of blocks, on two levels."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def small_unet(seed: int = 0, *, channels: int = 2, **options) -> UNet2DConditionModel:
    """Returns one of 8 and 16 channels for latents of `channels`; `options` are diffusers'."""
    torch.manual_seed(seed)
    settings = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": 8,
        "norm_num_groups": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**(settings | options))
