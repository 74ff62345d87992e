from fractions import Fraction

import pytest
import torch

from ldc.training import WeightAverage, fit
from ldc.training.callbacks.averaging import decay


def test_the_decay_is_that_of_diffusers():
    expected = [Fraction(0), Fraction(2, 11), Fraction(3, 12), Fraction(4, 13), Fraction(5, 14)]

    assert [decay(k) for k in range(5)] == [float(value) for value in expected]
    assert decay(50_000 - 1) == pytest.approx(0.99982, abs=1e-5)
    assert decay(10**6) == 0.9999


def test_the_average_follows_the_recursion(toy_net):
    network, average = toy_net(), WeightAverage()
    average.average = {name: p.detach().clone() for name, p in network.named_parameters()}
    expected = {name: p.detach().double() for name, p in network.named_parameters()}
    for k in range(4):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(torch.randn_like(p))
        average.update(network)
        for name, p in network.named_parameters():
            expected[name] = decay(k) * expected[name] + (1 - decay(k)) * p.detach().double()

    for name, value in average.average.items():
        torch.testing.assert_close(value, expected[name].float(), rtol=1e-5, atol=1e-6)


def test_the_first_step_copies_the_weights(toy_module, toy_data, tmp_path):
    module, average = toy_module(), WeightAverage()
    fit(module, toy_data(1), folder=tmp_path, max_steps=1, average=average, accelerator="cpu")

    for name, p in module.bare_student.named_parameters():
        torch.testing.assert_close(average.average[name], p.detach(), rtol=1e-6, atol=1e-7)


def test_the_average_is_lent_to_the_network_and_taken_back(toy_net):
    network, other, average = toy_net(0), toy_net(1), WeightAverage()
    average.average = {name: p.detach().clone() for name, p in other.named_parameters()}
    own = {name: p.detach().clone() for name, p in network.named_parameters()}

    with average.applied(network):
        assert all(torch.equal(p, average.average[name]) for name, p in network.named_parameters())
    assert all(torch.equal(p, own[name]) for name, p in network.named_parameters())


def test_a_checkpoint_without_the_average_is_refused(toy_module, toy_data, tmp_path):
    fit(toy_module(), toy_data(4), folder=tmp_path, max_steps=2, accelerator="cpu")
    with pytest.raises(ValueError, match="must hold the average of the weights"):
        fit(toy_module(), toy_data(4), folder=tmp_path, max_steps=4, average=WeightAverage(), accelerator="cpu")
