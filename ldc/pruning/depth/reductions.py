"""From the entries of a block's weights to one number: within a weight, then over the weights (Kim et al. 2024).

A matrix is summed over its inputs first, then its output rows are reduced; a vector is reduced as it is.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_WITHIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda rows: rows.sum(),
    "mean": lambda rows: rows.mean(),
    "max": lambda rows: rows.max(),
    "prod": lambda rows: rows.prod(),
}
_OVER: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "max": max,
    "prod": math.prod,
}
NAMES = tuple(_WITHIN)


def check_reductions(**reductions: Any) -> None:
    """Raises ValueError for a reduction, given by its setting's name, that is none of `NAMES`."""
    for name, value in reductions.items():
        if value not in NAMES:
            raise ValueError(f"{name} must be {', '.join(NAMES[:-1])} or {NAMES[-1]}, not {value!r}.")


def scored_weights(block: nn.Module, *, linear_only: bool) -> Iterator[tuple[str, nn.Parameter]]:
    """Yields (name, parameter) of what counts in a block: matrices, and the vectors of its norms, but no bias.

    Args:
        block: one of a language model's.
        linear_only: leaves the norms out, as the paper's formula does; its code has them in.
    """
    for name, parameter in block.named_parameters():
        if name.endswith("bias") or (linear_only and parameter.ndim == 1):
            continue
        yield name, parameter


def reduce_weight(entries: Tensor, reduction: str) -> float:
    """Returns the number of one weight from the non-negative numbers of its entries, summed in float64."""
    rows = entries.double() if entries.ndim == 1 else entries.flatten(1).sum(1, dtype=torch.float64)
    return _WITHIN[reduction](rows).item()


def reduce_block(values: Sequence[float], reduction: str) -> float:
    """Returns the number of a block from those of its weights."""
    return _OVER[reduction](values)
