"""GPTQ of a causal language model, block after block: each sees what the quantised blocks before it give out.

Only the linear layers of the blocks are quantised; embeddings, norms and `lm_head` stay as they are, tied or not.
Legend: S samples, L tokens, D width of the residual stream.
"""

import logging
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ldc.families.llama import BLOCKS, blocks
from ldc.models.language import Walk
from ldc.quantization.gptq import gptq, output_error
from ldc.quantization.grid import Quantised, round_to_nearest
from ldc.quantization.layer_inputs import hessians, linear_layers, sharing_inputs
from ldc.quantization.settings import GptqSettings

log = logging.getLogger(__name__)


class LayerReport(NamedTuple):
    """Mean squared errors of a layer's outputs on the calibration inputs that it was quantised for."""

    name: str
    gptq: float
    round_to_nearest: float


class QuantisedModel(NamedTuple):
    """What a quantisation gives: the layers on their grids by their names, and how well each was met."""

    layers: dict[str, Quantised]
    group_size: int | None  # None: one group a layer
    reports: list[LayerReport]


def quantisable(model: Any) -> dict[str, tuple[int, int]]:
    """Returns the shapes (outputs, inputs) of the weights that would be quantised, by their layers' names.

    Raises:
        ValueError: the model is not a decoder-only language model.
    """
    return {
        f"{BLOCKS}.{index}.{name}": (layer.out_features, layer.in_features)
        for index, block in enumerate(blocks(model))
        for name, layer in linear_layers(block).items()
    }


@torch.no_grad()
def quantise_model(model: Any, ids: Tensor, settings: GptqSettings) -> QuantisedModel:
    """Quantises the model in place: its weights become those that the codes stand for.

    All other tensors are rounded to `settings.other_dtype`, in which they are saved. The hidden states of all samples
    are held at once, S * L * D values of the model's type.

    Args:
        model: a causal language model of the llama family, in evaluation mode.
        ids: (S, L) int64 calibration tokens, without padding.
        settings: bits, groups, order.

    Raises:
        ValueError: the model cannot be quantised so, or its activations are not finite.
    """
    group_size = settings.group_for([inputs for _, inputs in quantisable(model).values()])
    _round_others(model, settings)
    rows = ids.to(next(model.parameters()).device).split(1)
    walk = Walk(model, rows[0])  # of one sample: the others are as long, so their masks and positions are the same
    states = [walk.start_of(row) for row in rows]
    layers: dict[str, Quantised] = {}
    reports: list[LayerReport] = []
    for index, block in enumerate(blocks(model)):
        through = partial(walk.step, index)
        sharing = sharing_inputs(block, through, states[0])
        turns = [[names] for names in sharing] if settings.sequential else [sharing]
        before = len(reports)
        for turn in turns:
            found = hessians(block, through, [names[0] for names in turn], states)
            for names, hessian in zip(turn, found, strict=True):
                for name in names:
                    full = f"{BLOCKS}.{index}.{name}"
                    layers[full], errors = _quantise(block.get_submodule(name), hessian, group_size, settings)
                    reports.append(LayerReport(full, *errors))
        states = [through(state) for state in states]
        log.info("Block %d: errors %.3g, of rounding to nearest %.3g.", index, *_sums(reports[before:]))
    return QuantisedModel(layers, group_size, reports)


@torch.no_grad()
def round_model(model: Any, settings: GptqSettings) -> None:
    """Rounds the same weights to their nearest points of the grid, in place: what GPTQ is compared with."""
    _round_others(model, settings)
    group_size = settings.group_for([inputs for _, inputs in quantisable(model).values()])
    for name in quantisable(model):
        weight = model.get_submodule(name).weight
        size = group_size or weight.shape[1]
        weight.copy_(round_to_nearest(weight.float(), settings.bits, size, symmetric=settings.symmetric).dequantised())


def _round_others(model: Any, settings: GptqSettings) -> None:
    weights = {f"{name}.weight" for name in quantisable(model)}
    for name, parameter in model.named_parameters():
        if name not in weights:
            rounded = parameter.to(settings.saved_dtype)
            if not rounded.isfinite().all():
                raise ValueError(f"other_dtype must hold all weights, but {settings.other_dtype} does not hold {name}.")
            parameter.copy_(rounded)


def _quantise(
    layer: Any, hessian: Tensor, group_size: int | None, settings: GptqSettings
) -> tuple[Quantised, tuple[float, float]]:
    weight = layer.weight.detach().float()
    bits, size = settings.bits, group_size or weight.shape[1]
    quantised = gptq(
        weight,
        hessian,
        bits,
        size,
        symmetric=settings.symmetric,
        act_order=settings.act_order,
        damp=settings.damp,
    )
    nearest = round_to_nearest(weight, bits, size, symmetric=settings.symmetric)
    errors = output_error(weight, quantised, hessian), output_error(weight, nearest, hessian)
    layer.weight.copy_(quantised.dequantised())  # last: `weight` is its own memory where it is of float32
    return quantised, errors


def _sums(reports: list[LayerReport]) -> tuple[float, float]:
    return sum(report.gptq for report in reports), sum(report.round_to_nearest for report in reports)
