"""What a quantisation leaves of a model's size, told from shapes alone: it works on the meta device."""

from typing import Any

from ldc.models.language.tensors import own_tensors
from ldc.quantization.blockwise import quantisable
from ldc.quantization.grid import SCALE_DTYPE
from ldc.quantization.settings import GptqSettings


def quantised_sizes(model: Any, settings: GptqSettings) -> dict[str, float | int | None]:
    """Returns parameters, how many of them are quantised, the group size, and bits a weight.

    "bits_per_weight" is that of the quantised layers, scales and zero points included, "bits_per_param" the model's.

    Raises:
        ValueError: the model is no language model, or the groups do not fit it.
    """
    shapes = quantisable(model).values()
    group_size = settings.group_for([inputs for _, inputs in shapes])
    weights = sum(outputs * inputs for outputs, inputs in shapes)
    groups = sum(outputs * inputs // (group_size or inputs) for outputs, inputs in shapes)
    bits = weights * settings.bits + groups * (SCALE_DTYPE.itemsize * 8 + (0 if settings.symmetric else settings.bits))
    params = sum(tensor.numel() for tensor in own_tensors(model).values())
    whole = bits + (params - weights) * settings.saved_dtype.itemsize * 8
    return {
        "params": params,
        "quantised_params": weights,
        "bits": settings.bits,
        "group_size": group_size,
        "bits_per_weight": bits / weights,
        "bits_per_param": whole / params,
    }
