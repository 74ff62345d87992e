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
        given = _given(model, ids)
        self.start = given[0][0]
        self._given = [others for _, *others in given]

    def start_of(self, ids: Tensor) -> Tensor:
        """Returns the state before the first block of other tokens, (B, L) too; `step` takes it on.

        Raises:
            ValueError: a block is given something else with them, such as embeddings of its own.
        """
        given = _given(self._model, ids)
        for place, (ours, (_, *theirs)) in enumerate(zip(self._given, given, strict=True)):
            if not _equal(ours, theirs):
                kind = type(self._model).__name__
                raise ValueError(
                    f"blocks must be given nothing but the state that depends on the tokens, "
                    f"unlike block {place} of {kind}."
                )
        return given[0][0]

    def step(self, place: int, state: Tensor) -> Tensor:
        """Returns the state after a block, from the one before it."""
        arguments, named = self._given[place]
        return self._blocks[place](state, *arguments, **named)

    def logits(self, state: Tensor) -> Tensor:
        """Returns (B, L, vocabulary) from the state after the last block."""
        with exchanged(self._model, [_Giving(state)] * len(self._blocks)):
            return self._model(input_ids=self._ids, use_cache=False).logits


def _given(model: Any, ids: Tensor) -> list[tuple[Tensor, tuple[Any, ...], dict[str, Any]]]:
    """Returns what each block is given where those before it pass their input through: no block is run."""
    noting = [_Noting() for _ in blocks(model)]
    with exchanged(model, noting):
        model.get_submodule(BLOCKS.rpartition(".")[0])(input_ids=ids, use_cache=False)
    return [note.given for note in noting]


def _equal(ours: Any, theirs: Any) -> bool:
    """Tells whether arguments are the same, tensors by their values."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_equal, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_equal(ours[key], theirs[key]) for key in ours)
    return bool(ours == theirs)
