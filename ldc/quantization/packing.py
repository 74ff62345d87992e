"""Saves a quantised model as stock software reads it: a transformers folder in compressed-tensors' `pack-quantized`.

transformers loads it by its config.json, on a CPU too, where the package compressed-tensors is installed. Zero points
are the exception: transformers 5.23 with compressed-tensors 0.20 expects them unpacked, and reads them only when it is
told `quantization_config=CompressedTensorsConfig(dequantize=True)`.
Legend: O outputs, I inputs, G groups of columns, b bits.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ldc.families.llama import stock_config
from ldc.models.language.students import clear_weights
from ldc.models.language.tensors import own_tensors
from ldc.permissions import share_weights
from ldc.quantization.blockwise import QuantisedModel
from ldc.quantization.grid import SCALE_DTYPE, Quantised
from ldc.quantization.settings import CHANNEL, GptqSettings

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_BESIDE = ("plan.json", "generation_config.json")  # as they are: published settings may not pass for writing


def check_packable(model: Any) -> None:
    """Raises ValueError for a model that stock software cannot build from a config."""
    if stock_config(model) is None:
        raise ValueError(
            "student must have a stock config to be quantised, since a quantised folder is read by stock software, but "
            "its channels were cut: quantise a depth-pruned student or the teacher."
        )


def save_quantised(
    folder: Path | str,
    model: Any,
    quantised: QuantisedModel,
    settings: GptqSettings,
    tokenizer: Any = None,
    parent: Path | None = None,
) -> Path:
    """Writes config.json, model.safetensors, the tokenizer, and what the parent has beside them; returns the folder.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        model: quantised by `quantise_model`.
        quantised: what `quantise_model` gave.
        settings: of the quantisation.
        tokenizer: of transformers, or None.
        parent: folder of the model before, whose plan and settings of generation are kept.

    Raises:
        ValueError: the model has no stock config.
    """
    check_packable(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear_weights(folder)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in _tensors(model, quantised, settings).items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    share_weights(folder)
    config = {key: value for key, value in (stock_config(model) or {}).items() if not key.startswith("_")}
    config |= {"architectures": [type(model).__name__], "dtype": settings.other_dtype}
    config["quantization_config"] = quantisation_config(model, quantised, settings)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    if parent is None:
        model.generation_config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for name in _BESIDE:
        if parent is not None and (parent / name).is_file():
            shutil.copyfile(parent / name, folder / name)
    return folder


def _tensors(model: Any, quantised: QuantisedModel, settings: GptqSettings) -> dict[str, Tensor]:
    """Returns what is saved, by its names: packed layers, and all other tensors in `settings.other_dtype`."""
    others = {name: tensor for name, tensor in own_tensors(model).items() if _layer(name) not in quantised.layers}
    tensors = {name: tensor.to(settings.saved_dtype) for name, tensor in others.items()}
    for name, layer in quantised.layers.items():
        packed = pack(layer, settings.bits, symmetric=settings.symmetric)
        tensors |= {f"{name}.{key}": value for key, value in packed.items()}
    return tensors


def pack(layer: Quantised, bits: int, *, symmetric: bool) -> dict[str, Tensor]:
    """Returns a layer's tensors by the names that compressed-tensors gives them.

    weight_packed (O, I b/32) int32, weight_scale (O, G) float16, weight_shape (2,) int64, and where not symmetric
    weight_zero_point (O b/32, G) int32.
    """
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32  # noqa: PLC0415 - costs seconds

    packed = {
        "weight_packed": pack_to_int32(layer.codes, bits),
        "weight_scale": layer.grid.scale.to(SCALE_DTYPE),
        "weight_shape": torch.tensor(layer.codes.shape),
    }
    if not symmetric:
        packed["weight_zero_point"] = pack_to_int32(layer.grid.zero.to(torch.int8), bits, packed_dim=0)
    return packed


def quantisation_config(model: Any, quantised: QuantisedModel, settings: GptqSettings) -> dict[str, Any]:
    """Returns the `quantization_config` of a config.json; linear layers outside the blocks are named as left alone."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    groups = {"strategy": CHANNEL} if quantised.group_size is None else {"strategy": "group"}
    weights = {
        "num_bits": settings.bits,
        "type": "int",
        "symmetric": settings.symmetric,
        "group_size": quantised.group_size,
        "actorder": "static" if settings.act_order else None,  # groups are of neighbouring columns all the same
        "dynamic": False,
        **groups,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": None,
                "output_activations": None,
                "format": "pack-quantized",
            }
        },
        "ignore": [name for name in linear if name not in quantised.layers],
        "kv_cache_scheme": None,
    }


def _layer(tensor_name: str) -> str:
    return tensor_name.removesuffix(".weight")
