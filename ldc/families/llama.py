"""The family of transformers' Llama and its relatives (Mistral, Qwen, Gemma, SmolLM): blocks, settling, stock config.

A block is attention, feed-forward and their norms; blocks stand in one ModuleList, and the residual stream passes
through one that is removed. Keeping some of them renumbers the rest into the key names of a stock model; the counter,
what the config lists per block, and the index under which each attention finds its part of the key-value cache must
follow (`settle`). Models are typed `Any`: they are read by name.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ldc.families.llama_width import settle_widths
from ldc.surgery import Plan, Slice

logger = logging.getLogger(__name__)

BLOCKS = "model.layers"
# Config entries that are lists with one value a block.
_PER_BLOCK = ("layer_types", "mlp_layer_types", "no_rope_layers")
# What equal shapes do not show: a number of heads, a window, a kind of attention, the place in the cache.
_SETTINGS = (
    "layer_idx",
    "layer_type",
    "attention_type",
    "head_dim",
    "num_key_value_groups",
    "sliding_window",
    "is_sliding",
    "use_rope",
    "scaling",
    "variance_epsilon",
    "eps",
    "has_sliding_layers",
)


def check_causal(model_or_config: Any) -> None:
    """Checks that a model, its config or the content of its `config.json` is a decoder-only language model.

    Raises:
        ValueError: it is an encoder, an encoder-decoder or has no head for the next token; or it is a decoder whose
            blocks stand elsewhere or share what they compute.
    """
    config = getattr(model_or_config, "config", model_or_config)
    read = config.get if isinstance(config, Mapping) else lambda key: getattr(config, key, None)
    built = isinstance(model_or_config, nn.Module)
    name = type(model_or_config).__name__ if built else next(iter(read("architectures") or ()), None)
    kind = str(name or read("model_type") or "nothing")
    headless = name is not None and not kind.endswith(("ForCausalLM", "LMHeadModel"))
    encoder = headless or read("is_encoder_decoder")
    if encoder or (built and not hasattr(model_or_config, "lm_head")):
        raise ValueError(f"model must be a decoder-only language model, such as LlamaForCausalLM, not {kind}.")
    blocks_there = isinstance(getattr(getattr(model_or_config, "model", None), "layers", None), nn.ModuleList)
    if (built and not blocks_there) or (not built and kind.endswith("LMHeadModel")):
        raise ValueError(f"blocks of the model must be in {BLOCKS}, as those of LlamaForCausalLM, unlike {kind}'s.")
    if read("num_kv_shared_layers"):
        raise ValueError(f"blocks of the model must each have keys and values of their own, unlike {kind}'s.")


def blocks(model: Any) -> nn.ModuleList:
    """Returns the blocks, in the order of a forward pass.

    Raises:
        ValueError: the model is not a decoder-only language model of this family.
    """
    check_causal(model)
    return model.get_submodule(BLOCKS)


def block_params(model: Any) -> list[int]:
    """Returns the number of parameters of each block."""
    return [sum(parameter.numel() for parameter in block.parameters()) for block in blocks(model)]


def settle(model: Any, plan: Plan) -> None:
    """Puts the number of blocks, the config's lists and every index into the key-value cache right after an edit.

    A model whose channels were cut keeps its parent's widths in its config: a plan describes it.
    """
    config, left = model.config, model.get_submodule(BLOCKS)
    count = int(config.num_hidden_layers)
    kept = plan.kept(BLOCKS, count)
    if len(kept) < count:
        for key in _PER_BLOCK:
            values = getattr(config, key, None)
            if isinstance(values, list | tuple) and len(values) == count:
                setattr(config, key, [values[index] for index in kept])
        _settle_window(config, kept)
        config.num_hidden_layers = len(kept)
    if any(isinstance(edit, Slice) for edit in plan.edits):
        for block in left:
            settle_widths(block)
    for index, block in enumerate(left):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    if hasattr(model.model, "has_sliding_layers"):
        model.model.has_sliding_layers = "sliding_attention" in config.layer_types


def _settle_window(config: Any, kept: tuple[int, ...]) -> None:
    """Qwen counts its blocks without a window from the first; `layer_types` says the same, where it is read."""
    bound = getattr(config, "max_window_layers", None)
    if bound is not None:
        config.max_window_layers = sum(index < bound for index in kept)


def stock_config(model: Any) -> dict[str, Any] | None:
    """Returns the config with which stock transformers builds exactly this model, or None where its channels were cut.

    Decided on the meta device: names and shapes of the tensors, types and settings of the modules must agree.
    """
    config = type(model.config).from_dict(model.config.to_dict())
    try:
        with torch.device("meta"):
            stock = type(model)(config)
    except (ValueError, RuntimeError, IndexError):
        return None
    same = _tensors(model) == _tensors(stock) and _modules(model) == _modules(stock)
    return config.to_dict() if same else None


def _tensors(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _modules(model: Any) -> dict[str, tuple[Any, ...]]:
    return {
        name: (type(module).__name__, *(getattr(module, key, None) for key in _SETTINGS))
        for name, module in model.named_modules()
    }
