"""Hidden states on their way through the blocks of a language model, one block at a time.

Legend: S samples, L tokens, D width of the residual stream.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ldc.families.llama import blocks


def enter(model: Any, ids: Tensor) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Returns the first block's inputs, S of (1, L, D), and what else each block is called with.

    That is the same for all samples: positions and masks, for they have one length and no padding.

    Args:
        model: a causal language model, in evaluation mode.
        ids: (S, L) int64.
    """
    others: list[dict[str, Any]] = []
    states: list[Tensor] = []

    def note(state: Tensor, named: dict[str, Any]) -> None:  # noqa: ARG001
        others.append(named)

    def stop(state: Tensor, named: dict[str, Any]) -> None:  # noqa: ARG001
        states.append(state)
        raise _EnteredError

    ids = ids.to(next(model.parameters()).device)
    with _called(dict.fromkeys(blocks(model), note)):
        model(ids[:1], use_cache=False)
    for row in ids:
        with _called({blocks(model)[0]: stop}):
            try:
                model(row[None], use_cache=False)
            except _EnteredError:
                continue
    return states, others


def through(block: nn.Module, state: Tensor, others: Mapping[str, Any]) -> Tensor:
    """Returns what a block makes of the hidden states (1, L, D)."""
    output = block(state, **others)
    return output[0] if isinstance(output, tuple) else output


def linear_layers(block: nn.Module) -> dict[str, nn.Linear]:
    """Returns a block's linear layers by their names in it."""
    return {name: layer for name, layer in block.named_modules() if isinstance(layer, nn.Linear)}


def sharing_inputs(block: nn.Module, state: Tensor, others: Mapping[str, Any]) -> list[list[str]]:
    """Returns the linear layers in the order of their calls, those of one input in one list."""
    given: list[Tensor] = []
    lists: list[list[str]] = []

    def note(name: str, entering: Tensor) -> None:
        if given and entering is given[-1]:
            lists[-1].append(name)
        else:
            given.append(entering)
            lists.append([name])

    layers = linear_layers(block)
    with _called({layer: lambda state, _, name=name: note(name, state) for name, layer in layers.items()}):
        through(block, state, others)
    return lists


def hessians(
    block: nn.Module, names: Sequence[str], states: Sequence[Tensor], others: Mapping[str, Any]
) -> list[Tensor]:
    """Returns the mean of x x^T over the inputs x of each of these layers, (I, I) float32."""
    sums: dict[str, Tensor] = {}

    def add(name: str, entering: Tensor) -> None:
        rows = entering.flatten(0, -2).float()  # (L, I)
        product = rows.T @ rows / (len(rows) * len(states))
        sums[name] = sums[name].add_(product) if name in sums else product

    layers = {name: block.get_submodule(name) for name in names}
    with _called({layer: lambda state, _, name=name: add(name, state) for name, layer in layers.items()}):
        for state in states:
            through(block, state, others)
    return [sums[name] for name in names]


class _EnteredError(Exception):
    """The first block has been reached: what comes after it is not wanted."""


@contextmanager
def _called(listeners: Mapping[Any, Callable[[Tensor, dict[str, Any]], None]]) -> Iterator[None]:
    """Tells each module's listener of its calls: the hidden states, and what else it is given."""

    def hook(module: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> None:
        first = given[0] if given else named["hidden_states"]
        listeners[module](first, {name: value for name, value in named.items() if name != "hidden_states"})

    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in listeners]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
