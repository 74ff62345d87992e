"""The published orders give the published removed sets."""

import pytest

from ldc.pruning.depth import depth_plan, select
from ldc.surgery import Keep, Plan

LLAMA_7B = {"block_params": [202_383_360] * 32, "total_params": 6_738_415_616}
# Removed sets in the order of removal, from the published scripts and model cards.
PUBLISHED = [
    ("llama-1-7b/ppl_n10", (24, 26, 25, 10, 27, 13)),
    ("llama-1-7b/ppl_n10", (24, 26, 25, 10, 27, 13, 22, 14, 9, 29, 12)),
    ("llama-1-7b/taylor_n10", (27, 24, 26, 25, 29, 28)),
    ("llama-1-7b/magnitude_n10", (9, 8, 10, 5, 7, 12)),
    ("vicuna-7b-v1.3/ppl_n10", (25, 27, 10, 24, 11, 20)),
    ("vicuna-7b-v1.3/ppl_n10", (25, 27, 10, 24, 11, 20, 8, 29, 6, 5, 26, 22, 9, 7, 15, 12, 16, 18, 21, 13)),
    ("vicuna-7b-v1.3/taylor_n10", (27, 26, 24, 25, 29, 28)),
    ("vicuna-13b-v1.3/ppl_n10", (35, 32, 24, 12, 34, 20, 26, 36)),
    ("vicuna-13b-v1.3/taylor_n10", (36, 33, 32, 34, 37, 35, 31, 30)),
    ("vicuna-13b-v1.3/magnitude_n10", (5, 8, 6, 4, 7, 10, 9, 11)),
    ("Llama-2-7b-hf/ppl_n10", (11, 8, 24, 21, 12, 7)),
    ("Llama-2-7b-hf/taylor_n10", (28, 27, 25, 29, 26, 24)),
    ("Meta-Llama-3-8B/ppl_n10", (8, 23, 9, 11, 10, 25)),
    ("Meta-Llama-3-8B/taylor_n10", (24, 25, 26, 28, 29, 23)),
]


@pytest.mark.parametrize(("name", "removed"), PUBLISHED)
def test_a_published_order_gives_the_published_removed_set(golden, name, removed):
    order = golden["official_orders"][name]
    assert select(order, len(order), count=len(removed)) == removed


def test_every_published_order_is_one_of_all_blocks_and_leaves_the_protected_ones(golden):
    assert len(golden["official_orders"]) == 20
    for order in golden["official_orders"].values():
        number = len(order)
        protected = {0, 1, 2, 3, number - 2, number - 1}
        removed = select(order, number, count=number - 6)
        assert removed == tuple(place for place in order if place not in protected)


def test_26_blocks_of_vicuna_7b_leave_exactly_the_protected_ones(golden):
    removed = select(golden["official_orders"]["vicuna-7b-v1.3/ppl_n10"], 32, count=26)
    assert set(range(32)) - set(removed) == {0, 1, 2, 3, 30, 31}


def test_protection_changes_the_choice_of_perplexity_on_vicuna_7b_at_26_blocks_but_not_at_20(golden):
    order = golden["official_orders"]["vicuna-7b-v1.3/ppl_n10"]
    assert select(order, 32, count=20) == select(order, 32, 0, 0, count=20)
    assert set(select(order, 32, count=26)) != set(select(order, 32, 0, 0, count=26))


@pytest.mark.parametrize(("criterion", "first"), [("taylor", (0,)), ("magnitude", (0, 1))])
def test_without_protection_the_first_blocks_go_first(golden, criterion, first):
    order = golden["official_orders"][f"llama-1-7b/{criterion}_n10"]
    assert select(order, 32, protect_first=0, protect_last=0, count=len(first)) == first


@pytest.mark.parametrize("budget", [{"count": 6}, {"ratio": 0.1802}, {"params": 5_524_115_456}])
def test_count_ratio_and_parameters_are_three_ways_to_the_same_set(golden, budget):
    order = golden["official_orders"]["llama-1-7b/ppl_n10"]
    assert select(order, 32, **budget, **LLAMA_7B) == (24, 26, 25, 10, 27, 13)


def test_more_blocks_than_candidates_is_refused_with_the_numbers():
    sentence = "num_removed must be at most 4, the number of blocks of the model's 10 behind the first 4 and before the"
    with pytest.raises(ValueError, match=f"{sentence} last 2, not 6"):
        select(range(10), 10, count=6)


def test_a_share_beyond_all_candidates_is_refused_with_the_share_that_can_be_reached():
    with pytest.raises(ValueError, match=r"ratio must be at most 0\.7809, where all 26 blocks .* go, not 0\.9"):
        select(range(32), 32, ratio=0.9, **LLAMA_7B)


def test_a_model_keeps_a_block_even_without_protection():
    with pytest.raises(ValueError, match="num_removed must be below the model's 3 blocks"):
        select(range(3), 3, 0, 0, count=3)


def test_a_budget_of_parameters_needs_the_sizes():
    with pytest.raises(ValueError, match="block_params and total_params must be given"):
        select(range(10), 10, ratio=0.2)


@pytest.mark.parametrize("order", [range(9), [0, *range(9)], range(1, 11)])
def test_an_order_of_another_model_is_refused(order):
    with pytest.raises(ValueError, match="order must name each of 10 blocks once"):
        select(order, 10, count=1)


def test_a_negative_number_of_protected_blocks_is_refused():
    with pytest.raises(ValueError, match="protect_last must be a whole number from 0, not -2"):
        select(range(10), 10, protect_last=-2, count=1)


def test_the_plan_keeps_all_other_blocks_in_their_order():
    assert depth_plan(10, (6, 2, 5)) == Plan([Keep("model.layers", (0, 1, 3, 4, 7, 8, 9))])
    assert depth_plan(10, ()) == Plan()


def test_a_block_that_is_not_there_is_not_removed():
    with pytest.raises(ValueError, match=r"removed blocks must be in \[0, 10\), not 10"):
        depth_plan(10, (3, 10))
