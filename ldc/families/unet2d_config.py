"""The stock config of an edited U-Net: derived from its blocks, then checked on the meta device."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from ldc.families.unet2d_depths import cuts_transformers, derived_depths
from ldc.surgery import Plan

# Config entries that are one value for all levels, or a list with one value a level.
_PER_LEVEL = ("attention_head_dim", "cross_attention_dim", "only_cross_attention", "transformer_layers_per_block")


def derived_config(unet: Any, plan: Plan) -> dict[str, Any] | None:
    """Returns the stock config that the edited U-Net's blocks imply, or None where its two sides do not mirror.

    Args:
        unet: the edited U-Net, whose config is still that of the unedited one.
        plan: the plan that made it.
    """
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    count = len(config["down_block_types"])
    levels, ups = plan.kept("down_blocks", count), plan.kept("up_blocks", count)
    if levels != tuple(count - 1 - index for index in reversed(ups)):
        return None
    layers = [len(block.resnets) for block in unet.down_blocks]
    if [len(block.resnets) - 1 for block in reversed(unet.up_blocks)] != layers:
        return None
    config["layers_per_block"] = layers[0] if len(set(layers)) == 1 else layers
    config["mid_block_type"] = None if unet.mid_block is None else config["mid_block_type"]
    config["block_out_channels"] = _take(config["block_out_channels"], levels)
    config["down_block_types"] = _take(config["down_block_types"], levels)
    config["up_block_types"] = _take(config["up_block_types"], ups)
    for key in _PER_LEVEL:
        config[key] = _take(_kept_layers(config[key], plan, "down"), levels)
    reverse = config.get("reverse_transformer_layers_per_block")
    config["reverse_transformer_layers_per_block"] = _take(_kept_layers(reverse, plan, "up"), ups)
    return config | derived_depths(unet, config) if cuts_transformers(plan) else config


def _take(values: Any, indices: Sequence[int]) -> Any:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return values
    taken = [values[index] for index in indices]
    return tuple(taken) if isinstance(values, tuple) else taken


def _kept_layers(values: Any, plan: Plan, side: str) -> Any:
    """Cuts the inner lists of a per-level list that itself holds one value a pair."""
    if not isinstance(values, Sequence):
        return values
    return [
        _take(value, plan.kept(f"{side}_blocks.{level}.attentions", len(value)))
        if isinstance(value, Sequence)
        else value
        for level, value in enumerate(values)
    ]


def matches(unet: Any, config: Mapping[str, Any]) -> bool:
    """Whether the stock U-Net of `config` has the same tensors, modules and settings as `unet`."""
    try:
        stock = _stock(type(unet), _text(config))
    except (ValueError, IndexError, NotImplementedError):
        return False
    return stock == (_tensors(unet), _modules(unet))


def stock_tensors(kind: Any, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes of the tensors that the class `kind` has under `config`."""
    return _stock(kind, _text(config))[0]


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in config.items() if not key.startswith("_")}, sort_keys=True)


@lru_cache(maxsize=32)
def _stock(kind: Any, config: str) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[Any, ...]]]:
    with torch.device("meta"):
        unet = kind.from_config(json.loads(config))
    return _tensors(unet), _modules(unet)


def _tensors(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _modules(model: Any) -> dict[str, tuple[Any, ...]]:
    """Module types and settings: equal shapes do not show a number of heads, groups of a norm or a stride."""
    found = {}
    for name, module in model.named_modules():
        found[name] = (type(module).__name__, module.extra_repr(), getattr(module, "heads", None))
    return found
