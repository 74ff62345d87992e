"""Reads the weights of a quantised language model, compressed-tensors' `pack-quantized`, as plain ones.

What comes back is the model that was measured when it was quantised, an ordinary one: nothing is unpacked as it runs.
Legend: O outputs, I inputs, G groups of columns, b bits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

QUANTISED = "quantization_config"
_METHOD, _FORMAT = "compressed-tensors", "pack-quantized"
_PACKED = ".weight_packed"
_PARTS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")


def is_packed(config: Mapping[str, Any]) -> bool:
    """Tells from the content of a config.json whether the weights are in the format that is read here."""
    present = config.get(QUANTISED) or {}
    one_kind = len(present.get("config_groups") or ()) == 1  # else layers would be of different numbers of bits
    return one_kind and present.get("quant_method") == _METHOD and present.get("format") == _FORMAT


def num_bits(config: Mapping[str, Any]) -> int:
    """Returns b of the content of a config.json for which `is_packed`."""
    [group] = config[QUANTISED]["config_groups"].values()
    return int(group["weights"]["num_bits"])


def read_packed(folder: Path, config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns the tensors by their names in the plain model, weights computed in float32 and then of `dtype`.

    Raises:
        ValueError: a file cannot be read.
    """
    stored: dict[str, Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            stored |= load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} must be readable, but reading it failed: {error}.") from error
    plain = {}
    for name, tensor in stored.items():
        if name.endswith(_PACKED):
            layer = name.removesuffix(_PACKED)
            parts = {part: stored[f"{layer}.{part}"] for part in _PARTS if f"{layer}.{part}" in stored}
            plain[f"{layer}.weight"] = unpack(parts, num_bits(config)).to(dtype)
        elif name.rpartition(".")[2] not in _PARTS:
            plain[name] = tensor.to(dtype)
    return plain


def unpack(parts: Mapping[str, Tensor], bits: int) -> Tensor:
    """Returns a layer's weight (O, I) float32 = (code - zero point) * scale.

    Args:
        parts: weight_packed (O, I b/32) int32, weight_scale (O, G), weight_shape (2,), and perhaps weight_zero_point
            (O b/32, G) int32.
        bits: b.
    """
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32  # noqa: PLC0415 - costs seconds

    shape = torch.Size(parts["weight_shape"].tolist())
    scale = parts["weight_scale"].float()
    codes = unpack_from_int32(parts["weight_packed"], bits, shape).float()
    codes = codes.unflatten(1, (scale.shape[1], -1))  # (O, G, I / G)
    if "weight_zero_point" in parts:
        zero = unpack_from_int32(parts["weight_zero_point"], bits, scale.shape, packed_dim=0)
        codes -= zero.float()[:, :, None]
    return (codes * scale[:, :, None]).flatten(1)
