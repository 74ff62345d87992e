"""O outputs, I inputs."""

import pytest
import torch

from ldc.quantization.gptq import gptq, output_error
from ldc.quantization.grid import round_to_nearest

OUTPUTS, INPUTS = 24, 192


def problem(rank=INPUTS, seed=0):
    """Returns a weight and the Hessian of correlated inputs, some of them much used."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(OUTPUTS, INPUTS, generator=draw)
    inputs = torch.randn(2000, rank, generator=draw) @ torch.randn(rank, INPUTS, generator=draw)
    inputs = inputs * torch.rand(INPUTS, generator=draw).square() / rank**0.5
    return weight, inputs, inputs.T @ inputs / len(inputs)


def test_the_error_is_that_of_the_layers_outputs():
    weight, inputs, hessian = problem()
    rounded = round_to_nearest(weight, 4, 64)
    measured = (inputs @ (weight - rounded.dequantised()).T).square().mean()
    assert output_error(weight, rounded, hessian) == pytest.approx(float(measured), rel=1e-3)


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "group_size"), [(4, 64), (3, 32), (4, 48), (4, INPUTS), (8, 64)])
def test_correlated_inputs_make_it_better_than_rounding_to_nearest(bits, group_size, symmetric, act_order):
    weight, _, hessian = problem()
    ours = gptq(weight, hessian, bits, group_size, symmetric=symmetric, act_order=act_order)
    nearest = round_to_nearest(weight, bits, group_size, symmetric=symmetric)
    assert output_error(weight, ours, hessian) < 0.8 * output_error(weight, nearest, hessian)


def test_uncorrelated_inputs_of_one_size_leave_rounding_to_nearest():
    weight, *_ = problem()
    assert torch.equal(gptq(weight, torch.eye(INPUTS), 4, 64).codes, round_to_nearest(weight, 4, 64).codes)


def test_order_by_activation_gives_the_most_used_inputs_the_smaller_errors():
    weight, _, hessian = problem()
    errors = [output_error(weight, gptq(weight, hessian, 3, 64, act_order=a), hessian) for a in (True, False)]
    assert errors[0] < errors[1]


def test_the_column_that_goes_first_is_rounded_to_nearest():
    weight, _, hessian = problem()
    first = hessian.diagonal().argmax()
    ours, nearest = gptq(weight, hessian, 4, 64), round_to_nearest(weight, 4, 64)
    assert torch.equal(ours.codes[:, first], nearest.codes[:, first])
    assert not torch.equal(ours.codes, nearest.codes)


@pytest.mark.parametrize("act_order", [True, False])
def test_updates_in_blocks_of_columns_change_nothing(act_order):
    """One by one, with every update at once, as the paper has it before it is made fast."""
    weight, _, hessian = problem()
    ours = gptq(weight, hessian, 4, INPUTS, act_order=act_order).dequantised()
    if act_order:  # one scale a row: the order of columns is all that differs
        order = hessian.diagonal().argsort(descending=True)
        weight, hessian, ours = weight[:, order], hessian[order][:, order], ours[:, order]
    damped = hessian + torch.eye(INPUTS) * 0.01 * hessian.diagonal().mean()
    factor = torch.linalg.cholesky(torch.linalg.inv(damped.double()), upper=True)
    left, scale = weight.double().clone(), round_to_nearest(weight, 4, INPUTS).grid.scale[:, 0].double()
    for column in range(INPUTS):
        code = (left[:, column] / scale).round().clamp(-8, 7)
        error = (left[:, column] - code * scale) / factor[column, column]
        left[:, column:] -= error[:, None] * factor[column, column:]
        left[:, column] = code * scale
    assert (ours == left.float()).float().mean() > 0.995  # a value halfway between two codes may fall to either side


def test_fewer_calibration_tokens_than_inputs_are_enough():
    weight, _, hessian = problem(rank=5)
    nearest = round_to_nearest(weight, 4, 64)
    assert output_error(weight, gptq(weight, hessian, 4, 64), hessian) < output_error(weight, nearest, hessian)


def test_an_input_that_is_never_used_is_rounded_to_nearest():
    weight, _, hessian = problem()
    hessian[7], hessian[:, 7] = 0, 0
    assert torch.equal(gptq(weight, hessian, 4, 64).codes[:, 7], round_to_nearest(weight, 4, 64).codes[:, 7])


def test_inputs_that_are_all_zero_leave_rounding_to_nearest():
    weight, *_ = problem()
    assert torch.equal(gptq(weight, torch.zeros(INPUTS, INPUTS), 4, 64).codes, round_to_nearest(weight, 4, 64).codes)


def test_a_hessian_that_is_not_finite_is_refused():
    weight, _, hessian = problem()
    hessian[3, 3] = torch.nan
    with pytest.raises(ValueError, match="must be finite"):
        gptq(weight, hessian, 4, 64)


def test_the_weight_and_the_hessian_are_left_as_they_were():
    weight, _, hessian = problem()
    before = weight.clone(), hessian.clone()
    gptq(weight, hessian, 4, 64)
    assert torch.equal(weight, before[0])
    assert torch.equal(hessian, before[1])
