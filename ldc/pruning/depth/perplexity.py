"""Perplexity: how the model fares with one block left out.

Legend: S sequences, L tokens, N blocks.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ldc.families.llama import block_params, blocks
from ldc.models.language import Walk, without
from ldc.models.modes import evaluating
from ldc.pruning.depth.criterion import Scored, Tick, check_batch_size
from ldc.pruning.language_loss import next_token_loss


@dataclass(frozen=True)
class Perplexity:
    """`I_n = exp(-1/(S (L-1)) sum log p(x_l | x_<l))` of the model without block n (Kim et al. 2024, equation 3).

    The mean is over all predicted tokens, in the model's own precision; no gradient is taken.

    Args:
        batch_size: sequences at a time; scores do not depend on it.
        reuse_prefix: what comes before block n is computed once for all n, and only the later blocks are run anew:
            half of the blocks' work. Scores are the same without.

    Raises:
        ValueError: batch_size is below 1.
    """

    batch_size: int = 10
    reuse_prefix: bool = True

    name: ClassVar[str] = "perplexity"
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def work(self, model: Any, ids: Tensor | None, places: Sequence[int]) -> int:
        assert ids is not None  # noqa: S101 - needs_data
        units = sum(_units(model, place if self.reuse_prefix else 0) for place in places)
        return units * len(ids.split(self.batch_size))

    @torch.no_grad()
    def score(
        self, model: Any, ids: Tensor | None, places: Sequence[int], removed: Collection[int], tick: Tick
    ) -> Scored:
        assert ids is not None  # noqa: S101 - needs_data
        scan = _with_prefixes if self.reuse_prefix else _in_place
        sums, base = dict.fromkeys(places, 0.0), 0.0
        with evaluating(model):
            for batch in ids.split(self.batch_size):
                losses, whole = scan(model, batch, places, removed, tick)
                sums = {place: sums[place] + losses[place] for place in places}
                base += whole
        count = ids.shape[0] * (ids.shape[1] - 1)
        return Scored({place: math.exp(total / count) for place, total in sums.items()}, math.exp(base / count))


def _with_prefixes(
    model: Any, ids: Tensor, places: Sequence[int], removed: Collection[int], tick: Tick
) -> tuple[dict[int, float], float]:
    """Returns the summed losses without each place, and without none: one walk, with an excursion at every place."""
    walk, wanted = Walk(model, ids), set(places)
    left = [place for place in range(len(blocks(model))) if place not in removed]
    losses, state = {}, walk.start
    for at, place in enumerate(left):
        if place in wanted:
            ahead = state
            for later in left[at + 1 :]:
                ahead = walk.step(later, ahead)
            losses[place] = _summed(walk.logits(ahead), ids)
            tick(_units(model, place))
        state = walk.step(place, state)
    return losses, _summed(walk.logits(state), ids)


def _in_place(
    model: Any, ids: Tensor, places: Sequence[int], removed: Collection[int], tick: Tick
) -> tuple[dict[int, float], float]:
    """Returns the same by whole passes."""

    def passed(left_out: set[int]) -> float:
        with without(model, left_out):
            return _summed(model(input_ids=ids, use_cache=False).logits, ids)

    losses = {}
    for place in places:
        losses[place] = passed({*removed, place})
        tick(_units(model, 0))
    return losses, passed(set(removed))


def _summed(logits: Tensor, ids: Tensor) -> float:
    return next_token_loss(logits, ids, "sum").item()


def _units(model: Any, place: int) -> int:
    """Returns the work of the blocks from `place` on and of the head, a block's being 1."""
    sizes = block_params(model)
    return len(sizes) - place + round(model.lm_head.weight.numel() * len(sizes) / sum(sizes))
