from ldc.quantization.blockwise import LayerReport, QuantisedModel, quantisable, quantise_model, round_model
from ldc.quantization.gptq import gptq, output_error
from ldc.quantization.grid import Grid, Quantised, round_to_nearest
from ldc.quantization.packing import check_packable, save_quantised
from ldc.quantization.settings import GptqSettings
from ldc.quantization.sizes import quantised_sizes
from ldc.quantization.windows import calibration_windows

__all__ = [
    "GptqSettings",
    "Grid",
    "LayerReport",
    "Quantised",
    "QuantisedModel",
    "calibration_windows",
    "check_packable",
    "gptq",
    "output_error",
    "quantisable",
    "quantise_model",
    "quantised_sizes",
    "round_model",
    "round_to_nearest",
    "save_quantised",
]
