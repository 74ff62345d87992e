"""LLM-Pruner: channels whose removal changes the loss least, to first order (Ma et al. 2023; block-wise, Taylor).

Legend: S samples, L tokens, G KV groups, F neurons.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ldc.families.llama import blocks
from ldc.families.llama_width import Widths, gradient_sums, weights
from ldc.models.modes import evaluating
from ldc.models.precision import in_float32
from ldc.profiling import params as num_params
from ldc.pruning.budget import Budget
from ldc.pruning.depth.criterion import check_batch_size
from ldc.pruning.gradients import differentiable
from ldc.pruning.language_loss import next_token_loss
from ldc.pruning.width.result import WidthResult, width_result
from ldc.pruning.width.scores import WidthScores, calibration_ids, check_scores
from ldc.pruning.width.sizes import Removed, even_removal, keep_highest, model_widths, params_left, removed_params


class LlmPruner:
    """Scores a KV group or a neuron by sum |W * dL/dW| over all weights that go with it; inner blocks give alike.

    L is the mean next-token cross-entropy of the calibration set. The gradient is that of all samples; its absolute
    value is taken once. In float32: a model of another type is copied.

    Args:
        num_removed, ratio, params: the budget, one of them. With a ratio r an inner block keeps int((1 - r) F) neurons
            and loses as many whole KV groups as (1 - r) of its key channels leave out, as published; else its share is
            rounded down to KV groups, and neurons meet the number of parameters.
        protect_first: so many blocks keep all.
        protect_last: as many of the last. 4 and 2 are the published layers 4 to 29 of LLaMA-7B.
        cut_heads: false: all heads stay, and neurons alone meet the number of parameters. With few KV groups the
            least step of the heads is large (a third of them in SmolLM2-135M).
        batch_size: samples of one backward pass; the scores do not depend on it.

    Raises:
        ValueError: the budget is not one of the three, or a setting is out of range.
    """

    needs_data = True

    def __init__(
        self,
        num_removed: int | None = None,
        ratio: float | None = None,
        params: int | None = None,
        protect_first: int = 4,
        protect_last: int = 2,
        batch_size: int = 1,
        *,
        cut_heads: bool = True,
    ) -> None:
        self.budget = Budget(num_removed, ratio, params)
        if min(protect_first, protect_last) < 0:
            raise ValueError(
                f"protect_first and protect_last must not be negative, not {protect_first}, {protect_last}."
            )
        check_batch_size(batch_size)
        self.protect_first, self.protect_last = protect_first, protect_last
        self.batch_size, self.cut_heads = batch_size, cut_heads

    def check(self, model: Any) -> int:
        """Returns the parameters that stay of a model that may be on the meta device.

        Raises:
            ValueError: the model does not fit, no block is left between the protected ones, or too much is to go.
        """
        return num_params(model) - removed_params(model_widths(model), self._removed(model))

    def plan(self, model: Any, calibration: Any = None, scores: WidthScores | None = None) -> WidthResult:
        """Returns the plan for `model`, which is not edited.

        Args:
            model: a decoder of the Llama family; with `scores`, on any device.
            calibration: with `ids` (S, L), L at least 2.
            scores: in place of a calibration set; those of protected blocks count for nothing.

        Raises:
            ValueError: the model, the calibration set or the scores do not fit, no block is left between the protected
                ones, or too much is to go.
        """
        removed = self._removed(model)
        if scores is None:
            scores = self.score(model, calibration_ids(model, calibration))
        check_scores(scores, each := model_widths(model))
        return width_result(model, keep_highest(each, scores, removed), params_left(model, self.budget))

    def _removed(self, model: Any) -> Removed:
        each, left = model_widths(model), params_left(model, self.budget)
        inner = range(self.protect_first, len(each) - self.protect_last)
        if len(inner) == 0:
            protected = self.protect_first + self.protect_last
            raise ValueError(f"protected blocks must be fewer than the model's {len(each)}, not {protected}.")
        chosen = [each[index] for index in inner]
        if left is None:
            some = _published(chosen, self.budget, cut_heads=self.cut_heads)
        else:
            some = even_removal(chosen, num_params(model) - left, cut_heads=self.cut_heads)
        whole = Removed([0] * len(each), [0] * len(each))
        for place, index in enumerate(inner):
            whole.groups[index], whole.neurons[index] = some.groups[place], some.neurons[place]
        return whole

    def score(self, model: Any, ids: Tensor) -> WidthScores:
        """Returns the scores of every block; no gradient is left on the model.

        Args:
            model: the unedited model.
            ids: (S, L).

        Raises:
            ValueError: the loss is not finite.
        """
        model = in_float32(model, "LLM-Pruner")
        each = [weights(block) for block in blocks(model)]
        gradients = self._gradients(model, ids, [weight for named in each for weight in named.values()])
        groups, neurons = [], []
        for block, named in zip(blocks(model), each, strict=True):
            salience = {name: (weight.detach() * next(gradients)).abs() for name, weight in named.items()}
            of_groups, of_neurons = gradient_sums(block, salience)
            groups.append(of_groups)
            neurons.append(of_neurons)
        return WidthScores(groups, neurons)

    def _gradients(self, model: Any, ids: Tensor, leaves: list[Tensor]) -> Iterator[Tensor]:
        with evaluating(model), differentiable(model, leaves), torch.enable_grad():
            for batch in ids.split(self.batch_size):
                logits = model(input_ids=batch, use_cache=False).logits
                loss = next_token_loss(logits, batch) * (len(batch) / len(ids))
                if not bool(loss.isfinite()):
                    raise ValueError(f"loss on the calibration set must be finite, not {loss.item()}.")
                loss.backward()  # into `.grad`, layer by layer: gradients of one batch alone are never all there
            gradients: list[Any] = [leaf.grad for leaf in leaves]
        return iter(gradients)


def _published(each: Sequence[Widths], budget: Budget, *, cut_heads: bool) -> Removed:
    left = 1 - float(budget.ratio or 0)
    groups = [(w.groups * w.head_dim - int(w.groups * w.head_dim * left)) // w.head_dim for w in each]
    groups = groups if cut_heads else [0] * len(each)
    return Removed(groups, [w.neurons - int(w.neurons * left) for w in each])
