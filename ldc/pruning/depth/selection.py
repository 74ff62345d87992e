"""From an order of blocks to those that go: protected blocks are passed over, a budget says how many."""

from collections.abc import Sequence

from ldc.families.llama import BLOCKS
from ldc.pruning.budget import Budget
from ldc.surgery import Keep, Plan

PROTECT_FIRST, PROTECT_LAST = 4, 2  # the paper's "+": these are never candidates


def candidates(order: Sequence[int], num_blocks: int, protect_first: int, protect_last: int) -> tuple[int, ...]:
    """Returns the blocks of an order that may go, in that order.

    Raises:
        ValueError: the order is not one of all blocks, or a number of protected blocks is negative.
    """
    if sorted(order) != list(range(num_blocks)):
        raise ValueError(f"order must name each of {num_blocks} blocks once, not {list(order)}.")
    for name, value in (("protect_first", protect_first), ("protect_last", protect_last)):
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} must be a whole number from 0, not {value!r}.")
    return tuple(place for place in order if protect_first <= place < num_blocks - protect_last)


def select(
    order: Sequence[int],
    num_blocks: int,
    protect_first: int = PROTECT_FIRST,
    protect_last: int = PROTECT_LAST,
    *,
    count: int | None = None,
    ratio: float | None = None,
    params: int | None = None,
    block_params: Sequence[int] | None = None,
    total_params: int | None = None,
) -> tuple[int, ...]:
    """Returns the indices of the blocks that go, in the order in which they go.

    Args:
        order: all blocks, least important first.
        num_blocks: of the model.
        protect_first: blocks at the start that are never removed.
        protect_last: blocks at the end that are never removed.
        count: how many go; or
        ratio: the share of all parameters that goes at least; or
        params: how many parameters stay at most.
        block_params: of each block, and
        total_params: of the whole model; both are needed for `ratio` and `params`.

    Raises:
        ValueError: the budget is not one of three, or more than all candidates; or the order is none.
    """
    budget = Budget(count, ratio, params)
    free = candidates(order, num_blocks, protect_first, protect_last)
    if count is None and (block_params is None or total_params is None):
        raise ValueError("block_params and total_params must be given for a budget of parameters, not none.")
    costs = [0 if block_params is None else block_params[place] for place in free]
    number = budget.units(costs, total_params or 0, among(num_blocks, protect_first, protect_last))
    if number == num_blocks:
        raise ValueError(f"num_removed must be below the model's {num_blocks} blocks, not all of them.")
    return free[:number]


def among(num_blocks: int, protect_first: int, protect_last: int) -> str:
    """Returns what the candidates are called in messages."""
    if not protect_first and not protect_last:
        return f"blocks of the model's {num_blocks}"
    return f"blocks of the model's {num_blocks} behind the first {protect_first} and before the last {protect_last}"


def depth_plan(num_blocks: int, removed: Sequence[int]) -> Plan:
    """Returns the plan that keeps all other blocks; one that removes none has no edit.

    Raises:
        ValueError: a block is not there, or none stays.
    """
    beyond = [place for place in removed if not 0 <= place < num_blocks]
    if beyond:
        raise ValueError(f"removed blocks must be in [0, {num_blocks}), not {beyond[0]}.")
    if not removed:
        return Plan()
    return Plan([Keep(BLOCKS, tuple(place for place in range(num_blocks) if place not in set(removed)))])
