"""Precision of a model: casts of what it saves and nothing else, and float32 copies for gradients."""

import copy
import logging
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)
_HALF = {torch.float16, torch.bfloat16}


def cast(model: Any, dtype: torch.dtype) -> Any:
    """Casts a model's floating parameters and saved buffers in place; returns the model.

    `Module.to(dtype)` would also round what is computed and not saved: in bfloat16, rotary frequencies are off by up to
    0.2 %, which is 2 radians at position 1,000. transformers keeps them in float32.
    """
    for tensor in model.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
    return model


def in_float32(model: Any, criterion: str) -> Any:
    """Returns the model, or a float32 copy of a half-precision one: in half, gradients this small are mostly zero.

    No half-precision copy is made on the way: 7 billion parameters take 28 GB beside the model's own 14 GB.

    Args:
        model: of any precision; it is not changed.
        criterion: whose gradients they are, for the log.
    """
    half = {parameter.dtype for parameter in model.parameters()} & _HALF
    if not half:
        return model
    names = " and ".join(sorted(map(str, half)))
    logger.info("The model is in %s: %s scores it in float32, in a copy.", names, criterion)
    tensors = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): _single(tensor) for tensor in tensors})


def _single(tensor: Tensor) -> Tensor:
    if tensor.dtype not in _HALF:
        return copy.deepcopy(tensor)
    single = tensor.detach().float()
    return nn.Parameter(single, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else single
