"""Magnitude: a block of small weights is thought to do little."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ldc.families.llama import blocks
from ldc.pruning.depth.criterion import Scored, Tick
from ldc.pruning.depth.reductions import check_reductions, reduce_block, reduce_weight, scored_weights


@dataclass(frozen=True)
class Magnitude:
    """`I_n = sum_k sum_ij |W_ij^{k,n}|^p` (Kim et al. 2024, equation 1); it needs no data.

    Args:
        norm_power: p, 1 or 2.
        linear_only: leaves out the norms' weights.
        weight_reduction, block_reduction: in place of the inner and the outer sum.

    Raises:
        ValueError: a setting is out of its range.
    """

    norm_power: int = 1
    linear_only: bool = False
    weight_reduction: str = "sum"
    block_reduction: str = "sum"

    name: ClassVar[str] = "magnitude"
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.norm_power not in {1, 2}:
            raise ValueError(f"norm_power must be 1 or 2, not {self.norm_power!r}.")
        check_reductions(weight_reduction=self.weight_reduction, block_reduction=self.block_reduction)

    def work(self, model: Any, ids: Tensor | None, places: Sequence[int]) -> int:  # noqa: ARG002
        return len(places)

    def score(
        self,
        model: Any,
        ids: Tensor | None,  # noqa: ARG002 - a criterion's contract
        places: Sequence[int],
        removed: Collection[int],  # noqa: ARG002 - the others' weights stay as they are
        tick: Tick,
    ) -> Scored:
        scores = {}
        for place in places:
            weights = scored_weights(blocks(model)[place], linear_only=self.linear_only)
            values = [reduce_weight(self._entries(weight), self.weight_reduction) for _, weight in weights]
            scores[place] = reduce_block(values, self.block_reduction)
            tick(1)
        return Scored(scores)

    def _entries(self, weight: Tensor) -> Tensor:
        return weight.detach().float().abs().pow(self.norm_power)
