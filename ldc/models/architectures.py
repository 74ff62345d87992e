"""Configs of the public Stable Diffusion teachers, so that they can be built and counted without a download.

Sources: the `config.json` files of the published repositories (CompVis/stable-diffusion-v1-4,
stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1-base and -2-1, SG161222/Realistic_Vision_V5.1_noVAE,
stabilityai/stable-diffusion-xl-base-1.0, of whose two text encoders the first stands here). Only what differs from the
defaults of diffusers and transformers is written down.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Configs of a pipeline's parts; `scheduler` holds the class name under `_class_name`, as diffusers writes it."""

    unet: dict[str, Any]
    text_encoder: dict[str, Any]
    scheduler: dict[str, Any]
    vae: dict[str, Any] = field(default_factory=lambda: _vae(512))


def _vae(sample_size: int) -> dict[str, Any]:
    return {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": sample_size,
        "scaling_factor": 0.18215,
    }


def _unet(**changes: Any) -> dict[str, Any]:
    base = {
        "sample_size": 64,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    }
    return base | changes


def _scheduler(class_name: str, prediction_type: str) -> dict[str, Any]:
    return {
        "_class_name": class_name,
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "prediction_type": prediction_type,
    }


_SD2_UNET = {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "use_linear_projection": True}
# Three levels; only the two inner ones have attention, and the innermost is 10 transformer blocks deep.
_SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
    "up_block_types": ["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_TEXT = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
_CLIP_L = _TEXT | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
# The published encoder of SD 2 is OpenCLIP-H without its last layer.
_OPENCLIP_H = _TEXT | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "projection_dim": 512,
    "hidden_act": "gelu",
}
_SD1 = Architecture(_unet(), _CLIP_L, _scheduler("PNDMScheduler", "epsilon"))

ARCHITECTURES: dict[str, Architecture] = {
    "sd14": _SD1,
    "sd15": _SD1,
    "realistic_vision_51": _SD1,
    "sd21_base": Architecture(_unet(**_SD2_UNET), _OPENCLIP_H, _scheduler("PNDMScheduler", "epsilon")),
    "sd21": Architecture(
        _unet(**_SD2_UNET, sample_size=96, upcast_attention=True),
        _OPENCLIP_H,
        _scheduler("DDIMScheduler", "v_prediction"),
        _vae(768),
    ),
    "sdxl_base": Architecture(
        _unet(**_SDXL_UNET),
        _CLIP_L,
        _scheduler("EulerDiscreteScheduler", "epsilon") | {"timestep_spacing": "leading"},
        _vae(1024) | {"scaling_factor": 0.13025},
    ),
}


def architecture(name: str | None) -> Architecture:
    """Returns the embedded configs of a teacher.

    Raises:
        ValueError: no such name.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {name!r}.")
    return ARCHITECTURES[name]
