"""GPTQ of one layer: columns are rounded one by one, and those that are left make up for each one's error.

Frantar et al. 2023, Algorithm 1, with their act-order. It minimises |(W - Q) X| over the calibration inputs X greedily.
Legend: O outputs, I inputs, G groups of columns, W weight, H Hessian, U upper Cholesky factor of H's inverse.
"""

import logging
from collections.abc import Callable
from functools import partial

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

    With `act_order` columns go by falling H_jj, the most used first; groups stay those of neighbouring columns, fitted
    before any column is rounded, so that the result needs no order of columns to be read. Without, a group's scale is
    fitted when its turn comes, to the weights as the columns before have left them.

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
    grid = fit_grid(left, bits, group_size, symmetric=symmetric)
    order, refit = torch.arange(left.shape[1], device=left.device), None
    if act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
        left = left[:, order]
    else:
        refit = partial(_refit, grid, left, group_size, bits, symmetric=symmetric)
    factor, codes = _inverse_factor(hessian[order][:, order], damp), torch.zeros_like(left)
    every, step = range(left.shape[1]), _columns_at_once(group_size, act_order=act_order)
    for columns in (every[start : start + step] for start in every[::step]):
        errors = _round_columns(left, codes, columns, factor, grid, order // group_size, bits, refit)
        left[:, columns.stop :] -= errors @ factor[columns.start : columns.stop, columns.stop :]
    return Quantised(codes[:, order.argsort()].to(torch.int8), grid)


def _columns_at_once(group_size: int, *, act_order: bool) -> int:
    """Returns how many columns wait together for one update by those before: a group to be fitted must have had all."""
    if act_order or group_size % _COLUMNS == 0:
        return _COLUMNS
    return max(_COLUMNS // group_size, 1) * group_size


def _round_columns(
    left: Tensor,
    codes: Tensor,
    columns: range,
    factor: Tensor,
    grid: Grid,
    groups: Tensor,
    bits: int,
    refit: Callable[[int], None] | None,
) -> Tensor:
    """Rounds these columns into `codes`, updates those of them that are left, and returns the errors (O, columns).

    Args:
        left: (O, I), in the order of rounding.
        codes: (O, I), in that order.
        columns: neighbours in it.
        factor: U.
        grid: of the weight.
        groups: (I,), each column's, in the order of rounding.
        bits: b.
        refit: told of each column before it is rounded.
    """
    errors = torch.zeros_like(left[:, columns.start : columns.stop])
    for column in columns:
        if refit is not None:
            refit(column)
        scale, zero = (values[:, groups[column]] for values in grid)
        codes[:, column] = quantise(left[:, column], scale, zero, bits)
        rounded = dequantise(codes[:, column], scale, zero)
        error = (left[:, column] - rounded) / factor[column, column]
        left[:, column : columns.stop] -= error[:, None] * factor[column, column : columns.stop]
        errors[:, column - columns.start] = error
    return errors


def _refit(grid: Grid, left: Tensor, group_size: int, bits: int, column: int, *, symmetric: bool) -> None:
    """Fits the scale of the group that begins at this column, if one does, to its weights as they are by now."""
    if column % group_size:
        return
    fitted = fit_grid(left[:, column : column + group_size], bits, group_size, symmetric=symmetric)
    for values, new in zip(grid, fitted, strict=True):
        values[:, column // group_size] = new[:, 0]


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
