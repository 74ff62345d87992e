"""How much goes: from a target to the KV groups and neurons that each block keeps.

Heads go in coarse steps, so a number of parameters is met through the feed-forward width: to within half a neuron.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ldc.families.llama import block_params, blocks
from ldc.families.llama_width import Widths, widths
from ldc.profiling import params as num_params
from ldc.pruning.budget import Budget
from ldc.pruning.width.scores import WidthScores


def params_left(model: Any, budget: Budget) -> int | None:
    """Returns the parameters that the student is to have, or None where the budget is a ratio, the method's own.

    `count` blocks are as many parameters as depth pruning of so many removes.

    Raises:
        ValueError: the model has no more blocks or parameters than that.
    """
    total = num_params(model)
    if budget.params is not None and budget.params >= total:
        raise ValueError(f"params must be below the model's {total:,}, not {budget.params:,}.")
    if budget.count is None:
        return budget.params
    each = block_params(model)
    if budget.count >= len(each):
        raise ValueError(f"num_removed must be below the model's {len(each)} blocks, not {budget.count}.")
    return total - round(budget.count * sum(each) / len(each))


class Kept(NamedTuple):
    """Ascending indices of the KV groups and neurons that each block keeps."""

    groups: list[tuple[int, ...]]
    neurons: list[tuple[int, ...]]


class Removed(NamedTuple):
    """How many KV groups and neurons each block loses."""

    groups: list[int]
    neurons: list[int]


def model_widths(model: Any) -> list[Widths]:
    """Returns the widths of every block.

    Raises:
        ValueError: the model is not a decoder of this family, or its channels cannot be cut.
    """
    return [widths(block) for block in blocks(model)]


def removed_params(each: Sequence[Widths], removed: Removed) -> int:
    """Returns the parameters of what each block loses."""
    groups = sum(count * width.group_params for count, width in zip(removed.groups, each, strict=True))
    return groups + sum(count * width.neuron_params for count, width in zip(removed.neurons, each, strict=True))


def prunable_params(each: Sequence[Widths]) -> int:
    """Returns the parameters of all KV groups and neurons."""
    return removed_params(each, Removed([width.groups for width in each], [width.neurons for width in each]))


def even_removal(each: Sequence[Widths], surplus: int, *, cut_heads: bool = True) -> Removed:
    """Returns what goes for `surplus` parameters when every block gives the same share.

    The share of KV groups is rounded down, as published; neurons give the rest. A block keeps one of each. Without
    `cut_heads` neurons give all.

    Raises:
        ValueError: more is to go than the blocks can give.
    """
    prunable = prunable_params(each)
    most = [width.groups - 1 if cut_heads else 0 for width in each]
    groups = [min(surplus * width.groups // prunable, limit) for width, limit in zip(each, most, strict=True)]
    while True:
        rest = surplus - removed_params(each, Removed(groups, [0] * len(each)))
        neurons = _even_neurons(each, rest)
        if neurons is not None:
            return Removed(groups, neurons)
        more = [min(count + 1, limit) for count, limit in zip(groups, most, strict=True)]
        if more == groups:
            _refuse(each, most, surplus)
        groups = more


def _even_neurons(each: Sequence[Widths], surplus: int) -> list[int] | None:
    total = sum(width.neurons * width.neuron_params for width in each)
    neurons = [max(surplus, 0) * width.neurons // total for width in each]
    rest = surplus - removed_params(each, Removed([0] * len(each), neurons))
    for index, width in enumerate(each):
        if 2 * rest >= width.neuron_params:
            neurons[index] += 1
            rest -= width.neuron_params
    return neurons if all(count < width.neurons for count, width in zip(neurons, each, strict=True)) else None


def keep_highest(each: Sequence[Widths], scores: WidthScores, removed: Removed) -> Kept:
    """Returns what each block keeps when its lowest scores go; of equal scores the lower index goes first."""
    groups = [_highest(part, count) for part, count in zip(scores.groups, removed.groups, strict=True)]
    neurons = [_highest(part, count) for part, count in zip(scores.neurons, removed.neurons, strict=True)]
    if any(len(part) == 0 for part in (*groups, *neurons)):
        raise ValueError(f"a block must keep a KV group and a neuron, but of {each[0].groups} and more all would go.")
    return Kept(groups, neurons)


def _highest(scores: Tensor, removed: int) -> tuple[int, ...]:
    return tuple(sorted(scores.cpu().argsort(stable=True)[removed:].tolist()))


def keep_highest_overall(each: Sequence[Widths], scores: WidthScores, surplus: int) -> Kept:
    """Returns what is kept when the lowest scores of all blocks go until `surplus` parameters are gone.

    A KV group that would remove too much stays; neurons come as near as they can. A block keeps one of each.

    Raises:
        ValueError: more is to go than the blocks can give.
    """
    asked = surplus
    units = [
        (score, block, kind, index)
        for kind, parts in enumerate((scores.groups, scores.neurons))
        for block, part in enumerate(parts)
        for index, score in enumerate(part.tolist())
    ]
    left = [[set(range(width.groups)) for width in each], [set(range(width.neurons)) for width in each]]
    least = min(width.neuron_params for width in each)
    for _, block, kind, index in sorted(units):
        if 2 * surplus < least:
            break
        cost = each[block].neuron_params if kind else each[block].group_params
        if len(left[kind][block]) > 1 and (2 * surplus >= cost if kind else surplus >= cost):
            left[kind][block].remove(index)
            surplus -= cost
    else:
        if 2 * surplus >= least:
            _refuse(each, [width.groups - 1 for width in each], asked)
    groups, neurons = ([tuple(sorted(part)) for part in parts] for parts in left)
    return Kept(groups, neurons)


def _refuse(each: Sequence[Widths], groups: list[int], surplus: int) -> None:
    most = removed_params(each, Removed(groups, [width.neurons - 1 for width in each]))
    raise ValueError(f"widths of {len(each)} blocks must give at most {most:,} parameters, not {surplus:,} and more.")
