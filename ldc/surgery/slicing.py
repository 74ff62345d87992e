"""Cuts the channels of one layer, in place: a linear layer, a convolution, or a batch normalisation."""

from typing import Any

import torch
from torch import nn

from ldc.surgery.edits import Slice

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def check_slice(layer: nn.Module, edit: Slice) -> None:
    """Says whether the slice fits the layer.

    Raises:
        ValueError: the layer is of another kind, or has no such channels.
    """
    if not isinstance(layer, (nn.Linear, *_CONVS, *_NORMS)) or not _is_plain(layer):
        raise ValueError(
            f"slice must name a linear layer, a convolution of one group or of one channel a group, or a batch "
            f"normalisation, but {edit.path!r} is {_described(layer)}."
        )
    if edit.inputs is not None and _shares_channels(layer):
        raise ValueError(f"inputs of {edit.path} must be null, as its outputs are its inputs, not {len(edit.inputs)}.")
    if edit.bias and isinstance(layer, _NORMS):
        raise ValueError(f"bias of {edit.path} must be false, as it is a {type(layer).__name__}, not true.")
    for side, channels, name in zip(("outputs", "inputs"), (edit.outputs, edit.inputs), _counters(layer), strict=True):
        size = getattr(layer, name)
        if channels is not None and channels[-1] >= size:
            raise ValueError(f"{side} of {edit.path} must be below their number {size}, not {channels[-1]}.")


def slice_layer(layer: Any, edit: Slice) -> None:
    """Replaces the layer's tensors by what the slice keeps of them, and puts its counters right."""
    for name, parameter in list(layer.named_parameters(recurse=False)):
        kept = nn.Parameter(edit.cut(parameter.detach()), requires_grad=parameter.requires_grad)
        setattr(layer, name, kept)
    for name, buffer in list(layer.named_buffers(recurse=False)):
        setattr(layer, name, edit.cut(buffer))
    counters = _counters(layer)
    for channels, name in zip((edit.outputs, edit.inputs), counters, strict=True):
        if channels is not None:
            setattr(layer, name, len(channels))
    if edit.outputs is not None and isinstance(layer, _CONVS) and layer.groups > 1:
        layer.groups = layer.in_channels = len(edit.outputs)
    if edit.bias and layer.bias is None:
        weight = layer.weight
        zeros = torch.zeros(len(weight), dtype=weight.dtype, device=weight.device)
        layer.bias = nn.Parameter(zeros, requires_grad=weight.requires_grad)


def _counters(layer: nn.Module) -> tuple[str, str]:
    if isinstance(layer, nn.Linear):
        return "out_features", "in_features"
    return ("num_features", "num_features") if isinstance(layer, _NORMS) else ("out_channels", "in_channels")


def _shares_channels(layer: Any) -> bool:
    return isinstance(layer, _NORMS) or (isinstance(layer, _CONVS) and layer.groups > 1)


def _is_plain(layer: Any) -> bool:
    # Groups of several channels would have to be cut alike; one channel a group is a depthwise convolution.
    return not isinstance(layer, _CONVS) or layer.groups == 1 or layer.groups == layer.in_channels == layer.out_channels


def _described(layer: Any) -> str:
    groups = getattr(layer, "groups", 1)
    return f"a {type(layer).__name__}" + (f" of {groups} groups" if groups > 1 else "")
