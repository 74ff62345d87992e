import logging

import pytest
import torch

from ldc.diffusion import Process, SkippingStepDDIM

CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
ALL = torch.arange(50)


def process(prediction_type="epsilon"):
    return Process.from_config({**CONFIG, "prediction_type": prediction_type})


def test_grid_has_the_published_fifty_start_times():
    assert SkippingStepDDIM(process()).start(ALL).tolist() == list(range(19, 1000, 20))


def test_each_end_is_the_start_below_and_the_first_is_clamped_to_zero():
    assert SkippingStepDDIM(process()).end(ALL).tolist() == [0, *range(19, 980, 20)]


def test_alpha_bars_on_the_grid_are_the_published_ones():
    solver = SkippingStepDDIM(process())
    like = torch.zeros(1, 1, 1, 1, dtype=torch.float64)

    def alpha_bars(t):
        return solver.process.alpha_sigma(t, like)[0].square().flatten().tolist()

    starts, ends = alpha_bars(solver.start(ALL)), alpha_bars(solver.end(ALL))
    assert [starts[0], starts[49]] == pytest.approx([0.9822439551353455, 0.00466009508818388], rel=1e-12)
    published = [0.9991499781608582, 0.9822439551353455, 0.005912765860557556]
    assert [ends[0], ends[1], ends[49]] == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(("skip", "num_steps"), [(1, 1000), (5, 200), (20, 50), (50, 20)])
def test_skip_is_configurable_and_ends_lie_on_the_grid(skip, num_steps):
    solver = SkippingStepDDIM(process(), num_steps)
    index = torch.arange(num_steps)
    assert solver.skip == skip
    assert set(solver.end(index).tolist()) <= {0, *solver.start(index).tolist()}
    assert torch.equal(solver.index(solver.start(index)), index)


def test_a_skip_of_two_spacings_clamps_the_first_two_indices():
    assert SkippingStepDDIM(process(), 50, 40).end(ALL).tolist() == [0, 0, *range(19, 960, 20)]


def test_a_skip_off_the_grid_warns(caplog):
    with caplog.at_level(logging.WARNING, logger="ldc.diffusion.solver"):
        SkippingStepDDIM(process(), 50, 5)
    assert "consider 200 solver steps" in caplog.text


@pytest.mark.parametrize("num_steps", [0, 49, 1001])
def test_a_number_of_steps_that_does_not_divide_the_timesteps_is_refused(num_steps):
    with pytest.raises(ValueError, match=f"must divide the 1000 timesteps, not be {num_steps}"):
        SkippingStepDDIM(process(), num_steps)


@pytest.mark.parametrize("skip", [0, 1000])
def test_a_skip_outside_the_process_is_refused(skip):
    with pytest.raises(ValueError, match=f"skip must be 1 to 999 timesteps, not {skip}."):
        SkippingStepDDIM(process(), 50, skip)


def guided_step(prediction_type):
    """Returns the solver, (x, conditional and unconditional outputs, w, t) at all 50 indices, and our guided step."""
    generator = torch.Generator().manual_seed(1)
    x, conditional, unconditional = torch.randn(3, 50, 4, 3, 3, generator=generator, dtype=torch.float64)
    w = torch.linspace(0, 14, 50, dtype=torch.float64).reshape(-1, 1, 1, 1)
    solver = SkippingStepDDIM(process(prediction_type))
    t = solver.start(ALL)
    guided = conditional + w * (conditional - unconditional)
    ours = solver.step(solver.process.x_0(guided, x, t), solver.process.eps(guided, x, t), ALL)
    return solver, (x, conditional, unconditional, w, t), ours


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_one_guided_output_converted_once_equals_combining_the_four_conversions(prediction_type):
    solver, (x, conditional, unconditional, w, t), ours = guided_step(prediction_type)
    p = solver.process
    x_0 = (1 + w) * p.x_0(conditional, x, t) - w * p.x_0(unconditional, x, t)
    eps = (1 + w) * p.eps(conditional, x, t) - w * p.eps(unconditional, x, t)
    torch.testing.assert_close(solver.step(x_0, eps, ALL), ours, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_step_equals_the_papers_psi_form(prediction_type):
    solver, (x, conditional, unconditional, w, t), ours = guided_step(prediction_type)
    alpha, sigma = solver.process.alpha_sigma(t, x)
    alpha_n, sigma_n = solver.process.alpha_sigma(solver.end(ALL), x)

    def psi(output):
        eps = solver.process.eps(output, x, t)
        return alpha_n / alpha * x - sigma_n * (sigma * alpha_n / (alpha * sigma_n) - 1) * eps - x

    theirs = x + (1 + w) * psi(conditional) - w * psi(unconditional)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-12)
