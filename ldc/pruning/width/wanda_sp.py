"""Wanda-sp: channels that little flows through, by weight and activation (Sun et al. 2023; An et al. 2024, baseline).

Legend: S samples, L tokens, C input channels of a projection, H its outputs, G KV groups, F neurons.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldc.families.llama import blocks
from ldc.families.llama_width import DOWN, OUT, widths
from ldc.models.language import Walk
from ldc.models.modes import evaluating
from ldc.profiling import params as num_params
from ldc.pruning.budget import Budget
from ldc.pruning.width.result import WidthResult, width_result
from ldc.pruning.width.scores import WidthScores, calibration_ids, check_scores, hooked
from ldc.pruning.width.sizes import (
    Removed,
    even_removal,
    keep_highest,
    model_widths,
    params_left,
    removed_params,
)


class WandaSp:
    """Scores a channel by mean_i |W_ij| * ||x_j||, a KV group by the sum over its channels; every block gives alike.

    ||x_j||^2 is the mean over samples of the squared norm of an input channel of the output or the down projection
    over a sample's tokens, in float32. Blocks are scored in order, each on what the pruned ones before it put out.

    Args:
        num_removed, ratio, params: the budget, one of them. With a ratio r a block loses int(r G) and int(r F), as
            published; else its share is rounded down to KV groups, and neurons meet the number of parameters.
        cut_heads: false: all heads stay, and neurons alone meet the number of parameters. With few KV groups the
            least step of the heads is large (a third of them in SmolLM2-135M).

    Raises:
        ValueError: the budget is not one of the three, or out of range.
    """

    needs_data = True

    def __init__(
        self,
        num_removed: int | None = None,
        ratio: float | None = None,
        params: int | None = None,
        *,
        cut_heads: bool = True,
    ) -> None:
        self.budget = Budget(num_removed, ratio, params)
        self.cut_heads = cut_heads

    def check(self, model: Any) -> int:
        """Returns the parameters that stay of a model that may be on the meta device.

        Raises:
            ValueError: the model does not fit, or too much is to go.
        """
        return num_params(model) - removed_params(model_widths(model), self._removed(model))

    def plan(self, model: Any, calibration: Any = None, scores: WidthScores | None = None) -> WidthResult:
        """Returns the plan for `model`, which is not edited.

        Args:
            model: a decoder of the Llama family; with `scores`, on any device.
            calibration: with `ids` (S, L).
            scores: in place of a calibration set.

        Raises:
            ValueError: the model, the calibration set or the scores do not fit, or too much is to go.
        """
        removed = self._removed(model)
        if scores is None:
            scores = score_in_order(model, calibration_ids(model, calibration), removed)
        check_scores(scores, each := model_widths(model))
        return width_result(model, keep_highest(each, scores, removed), params_left(model, self.budget))

    def _removed(self, model: Any) -> Removed:
        each, left = model_widths(model), params_left(model, self.budget)
        if left is not None:
            return even_removal(each, num_params(model) - left, cut_heads=self.cut_heads)
        ratio = float(self.budget.ratio or 0)
        groups = [int(ratio * w.groups) if self.cut_heads else 0 for w in each]
        return Removed(groups, [int(ratio * w.neurons) for w in each])


@torch.no_grad()
def score_in_order(model: Any, ids: Tensor, removed: Removed, batch_size: int = 16) -> WidthScores:
    """Returns the scores of every block, each measured on what the blocks before it put out when pruned.

    All samples have gone through a block before the next one is reached: between two blocks only the residual stream
    of all samples is held, within one what `batch_size` of them need.

    Args:
        model: the unedited model.
        ids: (S, L).
        removed: what each block loses, for the blocks behind it.
        batch_size: samples at a time; the scores do not depend on it.
    """
    groups, neurons = [], []
    with evaluating(model):
        walks = [Walk(model, batch) for batch in ids.split(batch_size)]
        states = [walk.start for walk in walks]
        for index, block in enumerate(blocks(model)):
            inputs = out, down = _Inputs(block.get_submodule(OUT)), _Inputs(block.get_submodule(DOWN))
            with hooked([each.linear.register_forward_pre_hook(each) for each in inputs]):
                for walk, state in zip(walks, states, strict=True):
                    walk.step(index, state)
                width = widths(block)
                groups.append(out.metric().view(width.groups, -1).sum(1))
                neurons.append(down.metric())
                one = Removed([removed.groups[index]], [removed.neurons[index]])
                kept = keep_highest([width], WidthScores(groups[-1:], neurons[-1:]), one)
                out.mask = _mask(kept.groups[0], width.groups, ids.device).repeat_interleave(width.group_channels)
                down.mask = _mask(kept.neurons[0], width.neurons, ids.device)
                states = [walk.step(index, state) for walk, state in zip(walks, states, strict=True)]
    return WidthScores(groups, neurons)


class _Inputs:
    """Watches what goes into a projection, or masks it once something is to go."""

    def __init__(self, linear: Any) -> None:
        self.linear = linear
        self.samples = 0
        self.square_norms: Tensor | float = 0.0  # (C,), the mean over the samples so far
        self.mask: Tensor | None = None  # (C,)

    def __call__(self, _module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self.mask is not None:
            return (args[0] * self.mask.to(args[0]),)
        self.samples += len(args[0])
        share = len(args[0]) / self.samples
        self.square_norms = self.square_norms + (mean_square_norms(args[0]) - self.square_norms) * share
        return None

    def metric(self) -> Tensor:
        """Returns mean_i |W_ij| * ||x_j||, (C,)."""
        return self.linear.weight.detach().float().abs().mean(0) * torch.as_tensor(self.square_norms).sqrt()


def mean_square_norms(inputs: Tensor) -> Tensor:
    """Returns the mean over samples of the squared norm over tokens of (S, L, C) inputs: (C,) float32."""
    return inputs.float().pow(2).sum(1).mean(0)


def _mask(kept: Sequence[int], number: int, device: torch.device) -> Tensor:
    mask = torch.zeros(number, device=device)
    mask[list(kept)] = 1
    return mask
