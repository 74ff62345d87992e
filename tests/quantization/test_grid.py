"""O outputs, I inputs."""

import pytest
import torch

from ldc.quantization.grid import SCALE_DTYPE, fit_grid, round_to_nearest


def weight(seed=0):
    return torch.randn(6, 32, generator=torch.Generator().manual_seed(seed))  # (O, I)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_weight_is_moved_by_more_than_half_a_step_but_for_the_clipped_ends(bits, symmetric):
    rounded = round_to_nearest(weight(), bits, 8, symmetric=symmetric)
    steps = rounded.grid.scale.repeat_interleave(8, 1)
    moved = (rounded.dequantised() - weight()).abs()
    assert (moved <= steps * 0.502 + steps * 2**bits * 1e-3).all()


def test_codes_stay_within_their_bits():
    codes = round_to_nearest(weight() * 100, 3, 32).codes
    assert codes.min() >= -4
    assert codes.max() <= 3


def test_scales_are_those_that_are_saved():
    scale = fit_grid(weight(), 4, 16, symmetric=True).scale
    assert torch.equal(scale, scale.to(SCALE_DTYPE).float())


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_group_of_zeros_stays_zero(symmetric):
    zeros = weight()
    zeros[:, :16] = 0
    assert (round_to_nearest(zeros, 4, 16, symmetric=symmetric).dequantised()[:, :16] == 0).all()


def test_zero_points_serve_weights_of_one_sign_better():
    positive = weight().abs() + 3
    errors = [(round_to_nearest(positive, 4, 8, symmetric=s).dequantised() - positive).square().mean() for s in (0, 1)]
    assert errors[0] < errors[1]


def test_the_grid_is_that_of_compressed_tensors():
    from compressed_tensors.quantization import QuantizationArgs  # noqa: PLC0415 - costs seconds
    from compressed_tensors.quantization.utils import calculate_qparams  # noqa: PLC0415

    low, high = weight().amin(1, keepdim=True), weight().amax(1, keepdim=True)
    scale, _ = calculate_qparams(low, high, QuantizationArgs(num_bits=4, symmetric=True, strategy="channel"))
    assert torch.allclose(fit_grid(weight(), 4, 32, symmetric=True).scale, scale, rtol=5e-4)
