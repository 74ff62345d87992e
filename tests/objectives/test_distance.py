import pytest
import torch

from ldc.objectives import ConsistencyDistillation
from ldc.objectives.base import at_least_float32


def test_huber_is_zero_at_zero_and_tends_to_the_absolute_difference(tiny_nets):
    objective = ConsistencyDistillation(tiny_nets.process(), loss="huber", huber_c=1e-3)
    x = torch.tensor([5.0, -3.0], dtype=torch.float64)
    assert objective.distance(x, x) == 0
    assert objective.distance(x, torch.zeros_like(x)).item() == pytest.approx(4.0 - 1e-3, abs=1e-6)


def test_hubers_gradient_is_the_closed_form(tiny_nets):
    objective = ConsistencyDistillation(tiny_nets.process(), loss="huber", huber_c=0.5)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(objective.distance(x, torch.zeros_like(x)), x)
    torch.testing.assert_close(gradient, (x / (x.square() + 0.25).sqrt() / 9).detach())


def test_loss_arithmetic_keeps_float64_and_lifts_half_precision():
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
