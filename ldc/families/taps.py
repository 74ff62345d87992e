"""Feature taps: a module that answers with its output and with what chosen submodules gave out on the way.

The taps are hooks on module objects that fill a store; `Tapped.forward` returns the store and forgets it. So DDP,
FSDP2, ZeRO and `torch.compile` wrap *the tapped module*, and features leave through its output, where they see them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn


class Tapped(nn.Module):
    """Wraps a diffusers network: `forward(*args, **kwargs)` returns (sample, {point: feature}).

    A point names a submodule; its feature is that submodule's output (element 0 where it is a tuple). Hooks record
    only while `forward` runs: gradient checkpointing, which runs submodules again in the backward pass, leaves nothing.

    Args:
        module: The network, called with `return_dict=False`.
        points: Names of its submodules.

    Raises:
        ValueError: A point is no submodule.
    """

    def __init__(self, module: nn.Module, points: Sequence[str]):
        super().__init__()
        taps = {point: _submodule(module, point) for point in points}
        self.module = module
        self.points = tuple(points)
        self._features: dict[str, Tensor] | None = None
        # Bound methods, not closures: a deep copy of the network then records into its own copy, never into this store.
        self._handles = [tap.register_forward_hook(partial(self._record, point)) for point, tap in taps.items()]

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        self._features = features = {}
        try:
            output = self.module(*args, **{**kwargs, "return_dict": False})
        finally:
            self._features = None
        return _first(output), {point: features[point] for point in self.points}

    def remove(self) -> None:
        """Takes the hooks off the network again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _record(self, point: str, _module: nn.Module, _args: tuple, output: Any) -> None:
        if self._features is not None:
            self._features[point] = _first(output)


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _submodule(module: nn.Module, point: str) -> nn.Module:
    try:
        return module.get_submodule(point)
    except AttributeError as error:
        raise ValueError(f"feature point must name a submodule of {type(module).__name__}, not {point!r}.") from error
