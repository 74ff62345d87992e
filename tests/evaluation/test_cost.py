import dataclasses

import pytest

from ldc import profiling
from ldc.evaluation.cost import cost


def test_costs_are_those_of_the_network(toy):
    figures = cost(toy, steps=3, repeats=1)
    assert figures["params"] == profiling.params(toy.unet)
    assert profiling.macs(toy.unet, 8, 8).items() <= figures.items()
    assert figures["latency"] > 0.0


@pytest.mark.parametrize(("scale", "passes"), [(2.0, 6), (1.0, 3)])
def test_guidance_doubles_the_passes(toy, scale, passes):
    assert cost(toy, steps=3, guidance_scale=scale, repeats=1)["unet_passes"] == passes


def test_a_model_without_a_tokenizer_has_costs(toy):
    assert cost(dataclasses.replace(toy, tokenizer=None), steps=1, repeats=1)["latency"] > 0.0
