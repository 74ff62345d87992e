"""Taylor: how much the loss would change, to first order, if a block's weights were zero.

Legend: S sequences, L tokens.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ldc.families.llama import blocks
from ldc.models.language import without
from ldc.models.modes import evaluating
from ldc.models.precision import in_float32
from ldc.pruning.depth.criterion import Scored, Tick, check_batch_size
from ldc.pruning.depth.reductions import check_reductions, reduce_block, reduce_weight, scored_weights
from ldc.pruning.gradients import differentiable
from ldc.pruning.language_loss import next_token_loss


@dataclass(frozen=True)
class Taylor:
    """`I_n = sum_k sum_ij |dL/dW_ij * W_ij|`, L the mean next-token loss of a batch (Kim et al. 2024, equation 2).

    The signed products are summed over the batches, and their absolute value is taken once at the end: ten batches of
    one sequence give ten times the score of one batch of ten. Gradients alone are kept from batch to batch; in the last
    one each product is reduced and its gradient freed as soon as that is there, so a single batch keeps none.
    A half-precision model is scored in a float32 copy.

    Args:
        batch_size: sequences at a time.
        blocks_at_a_time: blocks whose gradients are taken in one pass over the batches; None: all. Fewer take less
            memory and more passes; scores are the same.
        linear_only: leaves out the norms' weights, which weigh most in small networks.
        weight_reduction, block_reduction: in place of the inner and the outer sum.

    Raises:
        ValueError: a setting is out of its range.
    """

    batch_size: int = 10
    blocks_at_a_time: int | None = None
    linear_only: bool = False
    weight_reduction: str = "sum"
    block_reduction: str = "sum"

    name: ClassVar[str] = "taylor"
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        if self.blocks_at_a_time is not None:
            check_batch_size(self.blocks_at_a_time, "blocks_at_a_time")
        check_reductions(weight_reduction=self.weight_reduction, block_reduction=self.block_reduction)

    def work(self, model: Any, ids: Tensor | None, places: Sequence[int]) -> int:  # noqa: ARG002
        assert ids is not None  # noqa: S101 - needs_data
        return len(places) * len(ids.split(self.batch_size))

    def score(
        self, model: Any, ids: Tensor | None, places: Sequence[int], removed: Collection[int], tick: Tick
    ) -> Scored:
        assert ids is not None  # noqa: S101 - needs_data
        model, scores = in_float32(model, "Taylor"), {}
        for group in self._groups(places):
            weights = {place: self._weights(model, place) for place in group}
            flat = [weight for found in weights.values() for weight in found]
            with evaluating(model), without(model, removed), torch.enable_grad():
                values = iter(self._products(model, ids, flat, tick, len(group)))
            for place, found in weights.items():
                scores[place] = reduce_block([next(values) for _ in found], self.block_reduction)
        return Scored(scores)

    def _groups(self, places: Sequence[int]) -> list[Sequence[int]]:
        size = self.blocks_at_a_time or max(1, len(places))
        return [places[at : at + size] for at in range(0, len(places), size)]

    def _weights(self, model: Any, place: int) -> list[nn.Parameter]:
        return [weight for _, weight in scored_weights(blocks(model)[place], linear_only=self.linear_only)]

    def _products(
        self, model: Any, ids: Tensor, weights: Sequence[nn.Parameter], tick: Tick, num_blocks: int
    ) -> list[float]:
        """Returns the reduced |W * sum of gradients| of each weight of `num_blocks`, in order."""
        values: dict[int, float] = {}

        def reduce(weight: Tensor) -> None:
            assert weight.grad is not None  # noqa: S101 - it has just been accumulated
            values[id(weight)] = reduce_weight((weight.detach() * weight.grad).abs_(), self.weight_reduction)
            weight.grad = None
            done, before = (count * num_blocks // len(weights) for count in (len(values), len(values) - 1))
            tick(done - before)

        batches = ids.split(self.batch_size)
        with differentiable(model, weights):
            for number, batch in enumerate(batches, start=1):
                last = number == len(batches)
                hooks = [weight.register_post_accumulate_grad_hook(reduce) for weight in weights] if last else []
                try:
                    next_token_loss(model(input_ids=batch, use_cache=False).logits, batch).backward()
                finally:  # one that stayed after an error would take the gradients of the next attempt
                    for hook in hooks:
                        hook.remove()
                tick(0 if last else num_blocks)
        return [values[id(weight)] for weight in weights]
