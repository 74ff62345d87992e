import math
from collections import Counter

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from ldc.runtime.sweeps.parameters import read_parameter
from ldc.runtime.sweeps.trials import _words


def draws(config, seed=0, count=300):
    parameter = read_parameter("x", config)
    return [parameter.draw(seed, number) for number in range(count)]


@pytest.mark.parametrize(
    ("config", "distribution"),
    [
        ({"value": 3}, "constant"),
        ({"values": [1, 2]}, "categorical"),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, "categorical_w_probabilities"),
        ({"min": 1, "max": 4}, "int_uniform"),
        ({"min": 1, "max": 4.0}, "uniform"),
    ],
)
def test_a_distribution_that_is_not_named_is_wandbs(config, distribution):
    assert read_parameter("x", config).distribution == distribution


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"value": "a"}, ["a"]),
        ({"values": [3, 1]}, [3, 1]),
        ({"min": 2, "max": 4}, [2, 3, 4]),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.3, "q": 0.1}, [0.1, 0.2, 0.3]),
        ({"min": 0.0, "max": 1.0}, None),
    ],
)
def test_what_can_be_listed_is(config, values):
    parameter = read_parameter("x", config)
    assert parameter.values() == values
    assert parameter.count == (None if values is None else len(values))


@pytest.mark.parametrize(
    ("config", "low", "high"),
    [
        ({"min": 0.5, "max": 2.0}, 0.5, 2.0),
        ({"min": 1, "max": 3}, 1, 3),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2}, 1e-5, 1e-2),
        ({"distribution": "log_uniform", "min": -2, "max": 1}, math.exp(-2), math.exp(1)),
        ({"distribution": "q_log_uniform_values", "min": 4, "max": 64, "q": 4}, 4, 64),
    ],
)
def test_draws_fill_their_range(config, low, high):
    found = draws(config)
    assert low <= min(found)
    assert max(found) <= high
    assert len(set(found)) >= 3


def test_a_log_uniform_draw_has_its_median_at_the_geometric_mean():
    found = sorted(draws({"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-2}, count=2000))
    assert math.log10(found[1000]) == pytest.approx(-4, abs=0.2)


def test_quantised_draws_are_multiples():
    assert set(draws({"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25})) == {0.0, 0.25, 0.5}
    assert all(value % 1 == 0 for value in draws({"distribution": "q_normal", "mu": 3}))


def test_values_come_by_their_probabilities():
    found = Counter(draws({"values": ["a", "b"], "probabilities": [0.9, 0.1]}, count=1000))
    assert found["a"] == pytest.approx(900, abs=40)


def test_a_draw_is_a_function_of_seed_and_trial():
    config = {"min": 0.0, "max": 1.0}
    assert draws(config) == draws(config)
    assert draws(config, seed=1) != draws(config)
    assert draws(config, count=5) == draws(config, count=9)[:5]


def test_a_value_becomes_the_word_that_wandb_makes_of_it():
    values = {"a.b": 1.0e-4, "c": True, "+d": "{x: 1}", "e": [0.9, 0.99], "f": 30}
    args = {"args": {name: {"value": value} for name, value in values.items()}}
    assert _words(values) == create_sweep_command_args(args)["args_no_hyphens"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (3, "Parameter 'x' must have value, values, or min and max, not 3."),
        ({}, "must have value, values, or min and max, not nothing."),
        ({"parameters": {"y": {"value": 1}}}, "must not be nested: name the whole key, as x.KEY."),
        ({"distribution": "beta", "min": 0, "max": 1}, "distribution of 'x' must be one of constant, categorical"),
        ({"values": []}, "values of 'x' must be a list of at least one, not []."),
        ({"values": [1, None]}, "must be a text, a number, a list or true or false, not None."),
        ({"values": [1, 2], "min": 0}, "with categorical has values, not 'min'."),
        (
            {"values": [1, 2], "probabilities": [0.5, 0.4]},
            "probabilities of 'x' must be a number from 0 for each value",
        ),
        ({"min": "1e-4", "max": 1.0}, "min of 'x' must be a number (YAML's 1.0e-4; its 1e-4 is a text), not '1e-4'."),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "min of 'x' must be a whole number, not 0.5."),
        ({"min": 2, "max": 2}, "min of 'x' must be below max 2, not 2."),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "min of 'x' must be above 0, not 0."),
        ({"distribution": "uniform", "min": 0}, "with uniform must have max, which it lacks."),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q of 'x' must be above 0, not 0."),
    ],
)
def test_what_is_no_parameter_is_refused(config, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        read_parameter("x", config)
    assert sentence in str(error.value)
