"""What a network costs: parameters, tensors, multiply-accumulates (MACs).

A MAC is half of what torch's FlopCounterMode counts. The count runs on the meta device with the plain attention
processor, so it takes seconds at full size and holds no weights; attention products (QK^T and AV) are given apart,
because published figures often leave them out.
"""

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_ATTENTION_PRODUCTS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)
_TIME_IDS = 6


def params(module: nn.Module) -> int:
    """Returns the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def tensors(module: nn.Module) -> int:
    """Returns the number of tensors in the state dict."""
    return len(module.state_dict())


def to_meta(module: nn.Module) -> Any:
    """Returns a copy on the meta device that never holds a second set of weights."""
    memo: dict[int, Any] = {}
    for tensor in chain(module.parameters(), module.buffers()):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(module, memo)


def macs(unet: Any, sample_size: int, text_tokens: int) -> dict[str, int]:
    """Counts the MACs of one forward pass of a conditional U-Net.

    Args:
        unet: a diffusers UNet2DConditionModel or an edited one, on any device; it is not changed.
        sample_size: height and width of the latent.
        text_tokens: number of text states.

    Returns:
        {"macs": all, "macs_without_attention": all but the products QK^T and AV}, for a batch of one.
    """
    model = _plain_attention(to_meta(unet).eval())
    return _count(lambda: model(**_inputs(model, sample_size, text_tokens), return_dict=False))


def vae_encoder_macs(vae: Any, image_size: int) -> int:
    """Counts the MACs of encoding one square image of `image_size` pixels with a diffusers AutoencoderKL."""
    model = _plain_attention(to_meta(vae).eval())
    pixels = torch.empty(1, model.config.in_channels, image_size, image_size, device="meta", dtype=model.dtype)
    return _count(lambda: model.encode(pixels, return_dict=False))["macs"]


def text_encoder_macs(text_encoder: Any) -> int:
    """Counts the MACs of encoding one caption, at its full length, with a transformers CLIPTextModel."""
    model = to_meta(text_encoder).eval()
    model.set_attn_implementation("eager")
    tokens = torch.zeros(1, model.config.max_position_embeddings, dtype=torch.int64, device="meta")
    return _count(lambda: model(tokens))["macs"]


def _plain_attention(model: Any) -> Any:
    from diffusers.models.attention_processor import AttnProcessor  # noqa: PLC0415 - costs seconds, used only here

    model.set_attn_processor(AttnProcessor())  # products that the counter knows
    return model


@torch.no_grad()
def _count(forward: Callable[[], object]) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter:
        forward()
    by_operator = counter.get_flop_counts()["Global"]
    total = counter.get_total_flops()
    attention = sum(by_operator.get(operator, 0) for operator in _ATTENTION_PRODUCTS)
    return {"macs": total // 2, "macs_without_attention": (total - attention) // 2}


def _inputs(unet: Any, sample_size: int, text_tokens: int) -> dict[str, Any]:
    config = unet.config
    options = {"device": "meta", "dtype": next(unet.parameters()).dtype}
    inputs: dict[str, Any] = {
        "sample": torch.empty(1, config.in_channels, sample_size, sample_size, **options),
        "timestep": torch.zeros(1, dtype=torch.int64, device="meta"),
        "encoder_hidden_states": torch.empty(1, text_tokens, _text_width(config), **options),
    }
    if config.time_cond_proj_dim:
        inputs["timestep_cond"] = torch.empty(1, config.time_cond_proj_dim, **options)
    if config.get("addition_embed_type") == "text_time":
        inputs["added_cond_kwargs"] = _text_and_time(config, options)
    return inputs


def _text_and_time(config: Any, options: dict[str, Any]) -> dict[str, Any]:
    """SDXL's added conditions: a pooled text state and six numbers (original size, crop corner, target size)."""
    pooled = config.projection_class_embeddings_input_dim - _TIME_IDS * config.addition_time_embed_dim
    return {"text_embeds": torch.empty(1, pooled, **options), "time_ids": torch.empty(1, _TIME_IDS, **options)}


def _text_width(config: Any) -> int:
    width = config.encoder_hid_dim or config.cross_attention_dim
    return width if isinstance(width, int) else width[0]
