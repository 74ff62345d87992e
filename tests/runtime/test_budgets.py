"""What is typed of a pruner's budget beats what stands there by default."""

import pytest
from hydra.utils import instantiate

from ldc.runtime.composing import train_config


def budget(*words):
    found = instantiate(train_config(["+experiment=shortened_llama_lora", *words]).stages.prune.pruner).budget
    return {name: value for name, value in vars(found).items() if value is not None}


@pytest.mark.parametrize("pruner", ["depth_perplexity", "depth_taylor", "wanda_sp", "flap", "llm_pruner"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"count": 6}),
        (("pruner.num_removed=3",), {"count": 3}),
        (("pruner.ratio=0.2",), {"ratio": 0.2}),
        (("pruner.params=5500000000",), {"params": 5_500_000_000}),
    ],
)
def test_a_budget_that_is_typed_beats_the_default_one(pruner, words, expected):
    assert budget(f"pruner={pruner}", *words) == expected


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("pruner.num_removed=6", "pruner.ratio=0.2"), "num_removed=6 and ratio=0.2"),
        (("pruner.ratio=0.2", "pruner.params=100000000"), "ratio=0.2 and params=100000000"),
    ],
)
def test_two_budgets_that_are_typed_are_refused(words, given):
    with pytest.raises(Exception, match="the budget must be one of") as refusal:
        budget(*words)
    assert f"not {given}: set the others to null." in str(refusal.value)


@pytest.mark.parametrize(("experiment", "number"), [("lora", 6), ("cpt", 10), ("severe", 18)])
def test_an_experiments_budget_is_a_number_once_it_is_resolved(experiment, number):
    pruner = train_config([f"+experiment=shortened_llama_{experiment}"]).pruner
    assert (pruner.num_removed, pruner.ratio, pruner.params) == (number, None, None)
