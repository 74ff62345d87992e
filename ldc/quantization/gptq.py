"""GPTQ of one layer: columns are rounded one by one, and those that are left make up for each one's error.

Frantar et al. 2023, Algorithm 1, with their act-order. It minimises |(W - Q) X| over the calibration inputs X greedily.
Legend: O outputs, I inputs, G groups of columns, W weight, H Hessian, U upper Cholesky factor of H's inverse.
"""

import logging

import torch
from torch import Tensor

from ldc.quantization.grid import Grid, Quantised, dequantise, fit_grid, quantise

log = logging.getLogger(__name__)
_COLUMNS = 128  # are updated at once by what a block of columns has left
_MAX_DAMP = 1.0


def gptq(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    group_size: int,
    *,
    symmetric: bool = True,
    act_order: bool = True,
    damp: float = 0.01,
) -> Quantised:
    """Returns `weight` on a grid of `bits`, with a scale for every `group_size` columns.

    With `act_order` columns go by falling H_jj, the most used first; groups stay those of neighbouring columns, their
    scales fitted before any column is rounded, so that the result needs no order of columns to be read. Without, a
    group's scale is fitted when its turn comes, to the weights as the columns before have left them.

    Args:
        weight: (O, I) of any float type.
        hessian: (I, I) float32, the mean of x x^T over the layer's inputs x; any factor is of no effect.
        bits: b, from 2 to 8.
        group_size: a divisor of I.
        damp: part of the mean of H's diagonal that is added to it; more where H has no Cholesky factor so.

    Raises:
        ValueError: H is not finite, or cannot be inverted even with much damping.
    """
    left = weight.float().clone()  # (O, I): what is left to round, in the order of rounding
    order = torch.arange(left.shape[1], device=left.device)
    grid = fit_grid(left, bits, group_size, symmetric=symmetric)
    if act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
        left = left[:, order]
    factor = _inverse_factor(hessian[order][:, order], damp)
    groups = order // group_size  # (I,): each column's
    codes = torch.zeros_like(left)
    step = max(_COLUMNS // group_size, 1) * group_size  # whole groups, whose columns have had all updates
    for start in range(0, left.shape[1], step):
        stop = min(start + step, left.shape[1])
        errors = torch.zeros_like(left[:, start:stop])
        for column in range(start, stop):
            if not act_order and column % group_size == 0:
                _refit(grid, left[:, column : column + group_size], column // group_size, bits, symmetric=symmetric)
            scale, zero = (values[:, groups[column]] for values in grid)
            codes[:, column] = quantise(left[:, column], scale, zero, bits)
            rounded = dequantise(codes[:, column], scale, zero)
            error = (left[:, column] - rounded) / factor[column, column]
            left[:, column:stop] -= error[:, None] * factor[column, column:stop]
            errors[:, column - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return Quantised(codes[:, order.argsort()].to(torch.int8), grid)


def _refit(grid: Grid, weight: Tensor, group: int, bits: int, *, symmetric: bool) -> None:
    fitted = fit_grid(weight, bits, weight.shape[1], symmetric=symmetric)
    for values, new in zip(grid, fitted, strict=True):
        values[:, group] = new[:, 0]


def _inverse_factor(hessian: Tensor, damp: float) -> Tensor:
    """Returns U, upper triangular, with U^T U = H^-1: row j tells how columns after j make up for its error."""
    if not hessian.isfinite().all():
        raise ValueError("the calibration inputs of every layer must be finite, but a layer's Hessian is not.")
    hessian, diagonal = hessian.clone(), hessian.diagonal()
    mean = diagonal.mean().clamp(min=torch.finfo(hessian.dtype).tiny)
    hessian.diagonal()[diagonal == 0] += mean  # an input that is never used: its column is rounded to nearest
    while damp <= _MAX_DAMP:
        damped = hessian + torch.eye(len(hessian), device=hessian.device) * (damp * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed:
                return upper
        damp = max(10 * damp, 1e-4)
        log.warning("A layer's Hessian has no Cholesky factor: trying damp=%g.", damp)
    raise ValueError(f"a layer's Hessian must be invertible with damp up to {_MAX_DAMP:g}, but one is not.")


def output_error(weight: Tensor, quantised: Quantised, hessian: Tensor) -> float:
    """Returns the mean squared error of the layer's outputs: mean over x and outputs of ((W - Q) x)^2."""
    change = weight.float() - quantised.dequantised()
    return float((change @ hessian * change).sum() / len(change))
