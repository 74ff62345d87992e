"""A language model run block by block: what its own forward does around the blocks is left to that forward.

Masks, rotary embeddings, scaled embeddings, final norm, head and soft caps differ among Llama's relatives, and masks
differ among the blocks of one model (Gemma 2, Qwen). So the blocks are exchanged for stand-ins for the time of a call:
ones that note what they are given, or ones that give a state.

Legend: B batch, L tokens, D hidden width.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldc.families.llama import BLOCKS, blocks
from ldc.surgery import Skipped


class _Noting(nn.Module):
    """Passes its input through and notes what a block would have been given."""

    def forward(self, hidden: Tensor, *arguments: Any, **named: Any) -> Tensor:
        self.given = hidden, arguments, named
        return hidden


class _Giving(nn.Module):
    """Gives a state, whatever comes in."""

    def __init__(self, state: Tensor):
        super().__init__()
        self.state = state

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self.state


@contextmanager
def exchanged(model: Any, stand_ins: Sequence[nn.Module]) -> Iterator[None]:
    """Puts other modules in place of all blocks, as many as there are; the blocks are back afterwards."""
    parent, _, leaf = BLOCKS.rpartition(".")
    holder, own = model.get_submodule(parent), blocks(model)
    setattr(holder, leaf, nn.ModuleList(stand_ins))
    try:
        yield
    finally:
        setattr(holder, leaf, own)


@contextmanager
def without(model: Any, removed: Collection[int]) -> Iterator[None]:
    """Leaves blocks out in place: the others keep their indices, masks and weights."""
    with exchanged(
        model, [Skipped("identity") if place in removed else block for place, block in enumerate(blocks(model))]
    ):
        yield


class Walk:
    """One batch on its way through the blocks; the state before the first is `start`, (B, L, D).

    Args:
        model: a causal language model.
        ids: (B, L) tokens, none of them padding.
    """

    def __init__(self, model: Any, ids: Tensor):
        self._model, self._ids, self._blocks = model, ids, blocks(model)
        noting = [_Noting() for _ in self._blocks]
        with exchanged(model, noting):
            model.get_submodule(BLOCKS.rpartition(".")[0])(input_ids=ids, use_cache=False)
        self.start = noting[0].given[0]
        self._given = [(arguments, named) for _, arguments, named in (note.given for note in noting)]

    def step(self, place: int, state: Tensor) -> Tensor:
        """Returns the state after a block, from the one before it."""
        arguments, named = self._given[place]
        return self._blocks[place](state, *arguments, **named)

    def logits(self, state: Tensor) -> Tensor:
        """Returns (B, L, vocabulary) from the state after the last block."""
        with exchanged(self._model, [_Giving(state)] * len(self._blocks)):
            return self._model(input_ids=self._ids, use_cache=False).logits


def next_token_loss(logits: Tensor, ids: Tensor, reduction: str = "mean") -> Tensor:
    """Returns the cross entropy of every token but the first, given those before it, in float32.

    Args:
        logits: (B, L, vocabulary).
        ids: (B, L).
        reduction: mean or sum over B (L - 1) tokens.
    """
    # Sequence by sequence: logits and their logarithms are by far the largest tensors, and need not be copied whole.
    pairs = zip(logits[:, :-1], ids[:, 1:], strict=True)
    sums = [nn.functional.cross_entropy(predicted.float(), target, reduction="sum") for predicted, target in pairs]
    total = torch.stack(sums).sum()
    return total if reduction == "sum" else total / ids[:, 1:].numel()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switches dropout off for the time of a measurement."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def differentiable(model: Any, weights: Sequence[Tensor]) -> Iterator[None]:
    """Lets gradients reach these weights alone; flags and gradients are as before afterwards."""
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    chosen = {id(weight) for weight in weights}
    try:
        for parameter, _, _ in before:
            parameter.grad = None
            parameter.requires_grad_(id(parameter) in chosen)
        yield
    finally:
        for parameter, flag, gradient in before:
            parameter.requires_grad_(flag)
            parameter.grad = gradient


def check_ids(ids: Tensor, vocabulary: int) -> None:
    """Raises ValueError for calibration tokens from which nothing can be predicted."""
    if ids.ndim != 2 or ids.dtype != torch.int64 or ids.shape[0] < 1 or ids.shape[1] < 2:  # noqa: PLR2004 - (S, L), L >= 2
        raise ValueError(
            f"calibration must hold one sequence of two int64 tokens at least, not {tuple(ids.shape)} of {ids.dtype}."
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(
            f"calibration tokens must be in [0, {vocabulary}), the model's vocabulary, not in "
            f"[{ids.min()}, {ids.max()}]: they were made by another tokenizer."
        )
