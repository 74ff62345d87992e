"""What the linear layers of a block are given while it is run.

Legend: L tokens, D width of the residual stream, I inputs of a layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

Through = Callable[[Tensor], Tensor]  # runs a block: hidden states (1, L, D) to those after it


def linear_layers(block: nn.Module) -> dict[str, nn.Linear]:
    """Returns a block's linear layers by their names in it."""
    return {name: layer for name, layer in block.named_modules() if isinstance(layer, nn.Linear)}


def sharing_inputs(block: nn.Module, through: Through, state: Tensor) -> list[list[str]]:
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
    with _called({layer: partial(note, name) for name, layer in layers.items()}):
        through(state)
    return lists


def hessians(block: nn.Module, through: Through, names: Sequence[str], states: Sequence[Tensor]) -> list[Tensor]:
    """Returns the mean of x x^T over the inputs x of each of these layers, (I, I) float32."""
    sums: dict[str, Tensor] = {}

    def add(name: str, entering: Tensor) -> None:
        rows = entering.flatten(0, -2).float()  # (L, I)
        product = rows.T @ rows / (len(rows) * len(states))
        sums[name] = sums[name].add_(product) if name in sums else product

    layers = {name: block.get_submodule(name) for name in names}
    with _called({layer: partial(add, name) for name, layer in layers.items()}):
        for state in states:
            through(state)
    return [sums[name] for name in names]


@contextmanager
def _called(listeners: Mapping[nn.Module, Callable[[Tensor], None]]) -> Iterator[None]:
    """Tells each layer's listener of what the layer is given."""

    def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        listeners[layer](given[0])

    handles = [layer.register_forward_pre_hook(hook) for layer in listeners]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
