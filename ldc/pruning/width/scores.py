"""What a width criterion says of a model: a score for each KV group and each neuron of each block.

Legend: N blocks, G KV groups and F neurons of a block, C input channels of a projection, H hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ldc.families.llama_width import Widths
from ldc.models.modes import evaluating
from ldc.pruning.calibration_ids import check_ids


@dataclass(frozen=True)
class WidthScores:
    """Higher means kept. `means` are the mean inputs of each block's output and down projection, where measured.

    Raises:
        ValueError: a score is not finite.
    """

    groups: Sequence[Tensor]  # N of (G,)
    neurons: Sequence[Tensor]  # N of (F,)
    means: Sequence[tuple[Tensor, Tensor]] | None = None  # N of (C,), (F,)

    def __post_init__(self) -> None:
        for index, scores in enumerate(zip(self.groups, self.neurons, strict=True)):
            if not all(bool(part.isfinite().all()) for part in scores):
                raise ValueError(f"scores of a block must be finite, but some of block {index} are not.")


def check_scores(scores: WidthScores, widths: Sequence[Widths]) -> None:
    """Checks that there is one score for each group and neuron.

    Raises:
        ValueError: there are more or fewer.
    """
    given = [(len(groups), len(neurons)) for groups, neurons in zip(scores.groups, scores.neurons, strict=True)]
    wanted = [(width.groups, width.neurons) for width in widths]
    if given != wanted:
        raise ValueError(f"scores must be of {wanted} groups and neurons, block by block, not of {given}.")


def calibration_ids(model: Any, calibration: Any, least: int = 1) -> Tensor:
    """Returns the (S, L) ids of a calibration set on the model's device.

    Raises:
        ValueError: there is no calibration set, it has too few samples or tokens of another tokenizer, or the model has
            no weights.
    """
    ids = getattr(calibration, "ids", None)
    if ids is None:
        raise ValueError("calibration must be given where there are no scores, but it is not.")
    check_ids(ids, model.config.vocab_size)
    if len(ids) < least:
        raise ValueError(f"calibration must hold at least {least} samples, not {len(ids)}.")
    device = next(model.parameters()).device
    if device.type == "meta":
        raise ValueError("model must have weights to score its channels, but it is on the meta device.")
    return ids.to(device)


@contextmanager
def hooked(handles: Sequence[Any]) -> Iterator[None]:
    """Hooks that are there within, and gone afterwards."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_blocks(model: Any, ids: Tensor) -> None:
    """Runs the blocks on (S, L) ids without a gradient, a cache or logits: for hooks that watch them."""
    with evaluating(model), torch.no_grad():
        model.model(input_ids=ids, use_cache=False)
