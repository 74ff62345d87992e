from itertools import pairwise

import pytest
import torch

from ldc.families.llama_width import Widths
from ldc.pruning.budget import Budget
from ldc.pruning.width import WidthScores
from ldc.pruning.width.sizes import (
    Removed,
    even_removal,
    keep_highest,
    keep_highest_overall,
    params_left,
    prunable_params,
    removed_params,
)

SMALL = Widths(groups=3, group_heads=3, head_dim=64, neurons=1536, group_params=294_912, neuron_params=1728)
BLOCK = 3_540_096
SIX = 6 * BLOCK


@pytest.mark.parametrize("number", range(1, 25))
def test_an_even_removal_meets_the_parameters_to_within_half_a_neuron(number):
    each = [SMALL] * 30
    removed = even_removal(each, number * BLOCK)
    assert abs(removed_params(each, removed) - number * BLOCK) <= SMALL.neuron_params / 2


def test_the_share_of_groups_is_rounded_down_as_published():
    assert set(even_removal([SMALL] * 30, SIX).groups) == {0}
    assert set(even_removal([SMALL] * 30, 10 * BLOCK).groups) == {1}


def test_all_heads_stay_where_neurons_alone_are_to_give():
    removed = even_removal([SMALL] * 30, 10 * BLOCK, cut_heads=False)
    assert set(removed.groups) == {0}
    assert abs(removed_params([SMALL] * 30, removed) - 10 * BLOCK) <= SMALL.neuron_params / 2
    with pytest.raises(ValueError, match=f"must give at most {30 * 1535 * 1728:,} parameters"):
        even_removal([SMALL] * 30, 24 * BLOCK, cut_heads=False)


def test_what_is_left_over_is_one_neuron_more_in_the_first_blocks():
    neurons = even_removal([SMALL] * 30, SIX).neurons
    assert all(0 <= later - former <= 0 or former - later == 1 for former, later in pairwise(neurons))
    assert set(neurons) == {409, 410}


def test_more_groups_go_where_neurons_alone_are_not_enough():
    few = SMALL._replace(neurons=10)
    surplus = 9 * few.neuron_params + 1000
    removed = even_removal([few], surplus)
    assert removed.groups == [1]


def test_more_than_there_is_is_refused_with_the_most():
    most = 2 * SMALL.group_params + 1535 * SMALL.neuron_params
    assert removed_params([SMALL], even_removal([SMALL], most)) == most
    with pytest.raises(ValueError, match=f"widths of 1 blocks must give at most {most:,} parameters"):
        even_removal([SMALL], most + SMALL.neuron_params)


def test_lowest_scores_go_and_of_equal_ones_the_lower_index():
    width = Widths(2, 1, 1, 4, 1, 1)
    scores = WidthScores([torch.tensor([2.0, 1.0])], [torch.tensor([5.0, 1.0, 5.0, 5.0])])
    kept = keep_highest([width], scores, Removed([1], [2]))
    assert kept == ([(0,)], [(2, 3)])


def test_the_lowest_scores_of_the_whole_model_go():
    width = Widths(2, 1, 1, 3, 4, 1)
    groups = [torch.tensor([9.0, 9.0]), torch.tensor([0.0, 9.0])]
    neurons = [torch.tensor([1.0, 7.0, 8.0]), torch.tensor([2.0, 3.0, 9.0])]
    kept = keep_highest_overall([width] * 2, WidthScores(groups, neurons), 6)
    assert kept == ([(0, 1), (1,)], [(1, 2), (1, 2)])


def test_a_group_that_would_remove_too_much_stays_and_neurons_meet_the_parameters():
    width = Widths(2, 1, 1, 3, 4, 1)
    scores = WidthScores([torch.tensor([0.0, 1.0])], [torch.tensor([2.0, 3.0, 4.0])])
    kept = keep_highest_overall([width], scores, 2)
    assert kept == ([(0, 1)], [(2,)])


def test_every_block_keeps_a_group_and_a_neuron():
    width = Widths(2, 1, 1, 3, 4, 1)
    scores = WidthScores([torch.zeros(2), torch.ones(2)], [torch.zeros(3), torch.ones(3)])
    kept = keep_highest_overall([width] * 2, scores, 12)
    assert all(len(part) == 1 for part in (*kept.groups, *kept.neurons))
    with pytest.raises(ValueError, match="must give at most 12 parameters, not 13"):
        keep_highest_overall([width] * 2, scores, 13)


def test_a_number_of_blocks_is_their_parameters(tiny_llama):
    model = tiny_llama()
    # 10 blocks of 49,536 parameters, as depth pruning removes them (the spec's 5.3: 379,584 are left of three fewer)
    assert params_left(model, Budget(count=3)) == 379_584
    assert params_left(model, Budget(ratio=0.3)) is None


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(count=10), "num_removed must be below the model's 10 blocks, not 10"),
        (Budget(params=528_192), "params must be below the model's 528,192, not 528,192"),
    ],
)
def test_a_budget_that_leaves_nothing_to_do_or_nothing_is_refused(tiny_llama, budget, message):
    with pytest.raises(ValueError, match=message):
        params_left(tiny_llama(), budget)


def test_all_groups_and_neurons_are_prunable():
    assert prunable_params([SMALL]) == BLOCK - 2 * 576
