import pytest

from ldc.pruning.budget import Budget

BLOCK, REST = 202_383_360, 262_148_096  # LLaMA-7B
TOTAL = 32 * BLOCK + REST


def test_a_count_is_taken_as_it_is():
    assert Budget(count=3).units([5, 1, 1, 9], 100) == 3


@pytest.mark.parametrize(("ratio", "number"), [(0.18, 6), (0.1803, 7), (0.27, 9), (0.33, 11), (0.78, 26)])
def test_a_ratio_takes_the_fewest_units_that_reach_it(ratio, number):
    assert Budget(ratio=ratio).units([BLOCK] * 26, TOTAL) == number


@pytest.mark.parametrize(("params", "number"), [(5_524_115_456, 6), (5_524_115_455, 7), (1_476_448_256, 26)])
def test_a_number_of_parameters_is_never_exceeded(params, number):
    assert Budget(params=params).units([BLOCK] * 26, TOTAL) == number


def test_units_of_unlike_size_are_counted_in_the_order_in_which_they_go():
    assert Budget(ratio=0.5).units([10, 30, 20], 80) == 2
    assert Budget(ratio=0.5).units([10, 20, 30], 80) == 3


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"count": 4}, "num_removed must be at most 3, the number of units, not 4"),
        ({"ratio": 0.9}, "ratio must be at most 0.3000, where all 3 units go, not 0.9"),
        ({"params": 60}, "params must be at least 70, where all 3 units go, not 60"),
        ({"params": 100}, "params must be below the model's 100, not 100"),
    ],
)
def test_more_than_all_candidates_and_none_of_them_is_refused_with_the_numbers(budget, sentence):
    with pytest.raises(ValueError, match=sentence):
        Budget(**budget).units([10, 10, 10], 100)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({}, r"one of num_removed, ratio and params, not none\.$"),
        ({"count": 6, "ratio": 0.2}, r"not num_removed=6 and ratio=0\.2: set the others to null\.$"),
        ({"count": 0}, "num_removed must be a whole number from 1, not 0"),
        ({"count": 2.0}, "num_removed must be a whole number from 1, not 2.0"),
        ({"params": -1}, "params must be a whole number from 1, not -1"),
        ({"ratio": 20}, "ratio must be between 0 and 1, not 20"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(budget, sentence):
    with pytest.raises(ValueError, match=sentence):
        Budget(**budget)
