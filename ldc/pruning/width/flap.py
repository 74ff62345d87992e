"""FLAP: channels whose inputs fluctuate little, so that a bias can stand in for them (An et al. 2024, AL-AM, WIFV).

Legend: S samples, L tokens, C input channels of a projection, G KV groups, F neurons.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ldc.families.llama import blocks
from ldc.families.llama_width import DOWN, OUT
from ldc.profiling import params as num_params
from ldc.pruning.budget import Budget
from ldc.pruning.width.result import WidthResult, bias_params, width_result
from ldc.pruning.width.scores import WidthScores, calibration_ids, check_scores, hooked, run_blocks
from ldc.pruning.width.sizes import Kept, even_removal, keep_highest_overall, model_widths, params_left, prunable_params


class Flap:
    """Scores a channel by the fluctuation of its input times sum_i W_ij^2, comparably over all blocks and kinds.

    Scores are standardised in each block (those of attention squared before), a KV group has the mean of its channels,
    and the lowest of the whole model go, a group at the cost of its parameters in neurons (512/3 for LLaMA-7B). What
    goes is made up for by a bias in the output and the down projection: W times the mean input that is removed.

    Args:
        num_removed, ratio, params: the budget, one of them; a ratio is the share of the parameters of all heads and
            neurons. Biases count as parameters.
        reference_variance: the fluctuation as the published code computes it, with the new mean twice.
        compensate: whether biases are added.

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
        reference_variance: bool = False,
        compensate: bool = True,
    ) -> None:
        self.budget = Budget(num_removed, ratio, params)
        self.reference_variance = reference_variance
        self.compensate = compensate

    def check(self, model: Any) -> int:
        """Returns the parameters that stay of a model that may be on the meta device, biases aside; about, of a ratio.

        Raises:
            ValueError: the model does not fit, or too much is to go.
        """
        surplus = self._surplus(model)
        even_removal(model_widths(model), surplus)
        return num_params(model) - surplus

    def plan(self, model: Any, calibration: Any = None, scores: WidthScores | None = None) -> WidthResult:
        """Returns the plan for `model`, which is not edited, and the biases.

        Args:
            model: a decoder of the Llama family; with `scores`, on any device.
            calibration: with `ids` (S, L), at least two samples.
            scores: in place of a calibration set; without means in them the biases stay 0.

        Raises:
            ValueError: the model, the calibration set or the scores do not fit, or too much is to go.
        """
        each, left = model_widths(model), params_left(model, self.budget)
        if scores is None:
            scores = self.score(model, calibration_ids(model, calibration, least=2))
        check_scores(scores, each)
        if left is None:
            kept = keep_highest_overall(each, scores, self._surplus(model))
        else:
            kept = self._meet(model, scores, self._surplus(model))
        return width_result(model, kept, left, bias=self.compensate, means=scores.means)

    def _surplus(self, model: Any) -> int:
        left = params_left(model, self.budget)
        if left is not None:
            return num_params(model) - left
        return round(float(self.budget.ratio or 0) * prunable_params(model_widths(model)))

    def _meet(self, model: Any, scores: WidthScores, surplus: int) -> Kept:
        """Removes the biases' parameters, too: more removed units may mean more biases, until none is added."""
        each, added = model_widths(model), 0
        while True:
            kept = keep_highest_overall(each, scores, surplus + added)
            wanted = bias_params(model, kept) if self.compensate else 0
            if wanted <= added:
                return kept
            added = wanted

    def score(self, model: Any, ids: Tensor) -> WidthScores:
        """Returns the scores of every block with the mean inputs; the samples go through one at a time.

        Args:
            model: the unedited model.
            ids: (S, L).
        """
        found = [
            tuple(Fluctuation(reference=self.reference_variance) for _ in (OUT, DOWN))
            for _ in range(len(blocks(model)))
        ]
        handles = [
            block.get_submodule(name).register_forward_pre_hook(fluctuation.watch)
            for block, pair in zip(blocks(model), found, strict=True)
            for name, fluctuation in zip((OUT, DOWN), pair, strict=True)
        ]
        with hooked(handles):
            for sample in ids.split(1):
                run_blocks(model, sample)
        groups, neurons = [], []
        for block, width, (out, down) in zip(blocks(model), model_widths(model), found, strict=True):
            channels = standardised(_weighted(out, block.get_submodule(OUT)).pow(2))
            groups.append(channels.view(width.groups, -1).mean(1))
            neurons.append(standardised(_weighted(down, block.get_submodule(DOWN))))
        return WidthScores(groups, neurons, [(out.mean, down.mean) for out, down in found])


class Fluctuation:
    """The running mean b and fluctuation f of channels, a sample at a time, in float32.

    With sample n of tokens x_l: b_n = b_{n-1} + (mean_l x_l - b_{n-1}) / n, and
    f_n = f_{n-1} (n-2)/(n-1) + sum_l (x_l - b_n)(x_l - b_{n-1}) / n, f_1 = 0. The published code has the old mean
    overwritten when it is read, so there b_n stands for b_{n-1} in the product: `reference`.
    """

    def __init__(self, *, reference: bool = False) -> None:
        self.reference = reference
        self.samples = 0
        self.mean = self.value = torch.zeros(())

    def add(self, inputs: Tensor) -> None:
        """Takes one more sample, (L, C)."""
        inputs = inputs.float()
        self.samples += 1
        old = self.mean.to(inputs.device)
        self.mean = old + (inputs.mean(0) - old) / self.samples
        if self.samples == 1:
            self.value = torch.zeros_like(self.mean)
            return
        other = self.mean if self.reference else old
        change = ((inputs - self.mean) * (inputs - other)).sum(0) / self.samples
        self.value = self.value * ((self.samples - 2) / (self.samples - 1)) + change

    def watch(self, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        """A hook before a projection: its input is (S, L, C)."""
        for sample in args[0]:
            self.add(sample)


def _weighted(fluctuation: Fluctuation, linear: Any) -> Tensor:
    return fluctuation.value * linear.weight.detach().float().pow(2).sum(0)  # (C,)


def standardised(scores: Tensor) -> Tensor:
    """Returns scores less their mean, over their (unbiased) standard deviation; zeros where all are equal."""
    deviation = scores.std()
    return torch.zeros_like(scores) if deviation == 0 else (scores - scores.mean()) / deviation
