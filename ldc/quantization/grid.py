"""The grid that weights are rounded to: b-bit integers with a scale, perhaps a zero point, for each group of columns.

The rule is that of compressed-tensors, so that what is saved in its format is what was computed here.
Legend: O outputs, I inputs, G groups of columns, g columns in a group, b bits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SCALE_DTYPE = torch.float16  # what is saved, so scales are rounded to it before anything is measured


class Grid(NamedTuple):
    """Scales and zero points; weight = (code - zero) * scale, codes from -2^(b-1) to 2^(b-1) - 1."""

    scale: Tensor  # (O, G) float32 with values of SCALE_DTYPE
    zero: Tensor  # (O, G) float32 with whole values; all zero where symmetric


class Quantised(NamedTuple):
    """One layer's weight on its grid."""

    codes: Tensor  # (O, I) int8
    grid: Grid

    def dequantised(self) -> Tensor:
        """Returns the weight that the codes stand for, (O, I) float32."""
        scale, zero = (spread(values, self.codes.shape[1]) for values in self.grid)
        return dequantise(self.codes, scale, zero)


def fit_grid(weight: Tensor, bits: int, group_size: int, *, symmetric: bool) -> Grid:
    """Returns the grid that just spans each group of `group_size` columns of `weight` (O, I) float32, and zero.

    Symmetric: scale = max |w| / ((2^b - 1) / 2), no zero point. Else: scale = (max - min) / (2^b - 1).
    """
    groups = weight.unflatten(1, (-1, group_size))  # (O, G, g)
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)  # (O, G)
    steps = 2**bits - 1
    scale = torch.maximum(-low, high) * 2 / steps if symmetric else (high - low) / steps
    smallest = 2.0**-24  # of float16: a group of zeros needs some scale
    scale = scale.to(SCALE_DTYPE).float().clamp(min=smallest)
    if symmetric:
        return Grid(scale, torch.zeros_like(scale))
    lowest = -(2 ** (bits - 1))
    return Grid(scale, (lowest - low / scale).round().clamp(lowest, lowest + steps))


def quantise(weight: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """Returns the nearest codes, as floats of whole values; scale and zero broadcast against the weight."""
    half = 2 ** (bits - 1)
    return (weight / scale + zero).round().clamp(-half, half - 1)


def dequantise(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Returns the weights of these codes; scale and zero broadcast against them."""
    return (codes.to(scale.dtype) - zero) * scale


def round_to_nearest(weight: Tensor, bits: int, group_size: int, *, symmetric: bool = True) -> Quantised:
    """Returns `weight` (O, I) float32 with each value at its nearest point of the grid: what GPTQ is to improve on."""
    grid = fit_grid(weight, bits, group_size, symmetric=symmetric)
    scale, zero = (spread(values, weight.shape[1]) for values in grid)
    codes = quantise(weight, scale, zero, bits)
    return Quantised(codes.to(torch.int8), grid)


def spread(values: Tensor, columns: int) -> Tensor:
    """Returns (O, G) values of groups as (O, columns), each group's for all its columns."""
    return values.repeat_interleave(columns // values.shape[1], 1)
