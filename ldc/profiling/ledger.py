"""Where the memory of a step goes, told without its tensors: a ledger of every storage that operators make.

A step runs eagerly on fake tensors, which have shapes and no contents, so it takes seconds at full size; each storage
is entered when an operator makes it and struck out when its last reference goes. That is what an allocator sees, but
for its own rounding and fragmentation and for the workspaces inside kernels.
"""

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

HELD, GRADIENTS, CASTS, ACTIVATIONS = range(4)
_aten: Any = torch.ops.aten
_FUSED = "_scaled_dot_product_flash_attention"
_SAME = {  # the CPU's fused attention has no formula of its own for its operations
    getattr(_aten, f"{_FUSED}_for_cpu{end}"): getattr(_aten, f"{_FUSED}{end}") for end in ("", "_backward")
}


class Ledger(TorchDispatchMode):
    """Enters the bytes of each storage, and counts multiply-accumulates, while it is active.

    Kinds: HELD, what is there all the time, whatever is made while `kind` is HELD; GRADIENTS of the parameters given to
    `follow`; CASTS, copies of them in another precision (autocast's); ACTIVATIONS, all else.

    Attributes:
        kind: of what is made next.
        now: bytes by kind.
        macs: half of the floating-point operations of products and convolutions, backward passes included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kind = HELD
        self.now = [0, 0, 0, 0]
        self.macs = 0
        self._rows: list[tuple[int, ...]] = []
        self._kinds: dict[int, int] = {}
        self._parameters: set[int] = set()

    def follow(self, parameters: Iterable[nn.Parameter]) -> None:
        """Tells the gradients and the casts of these parameters from other tensors."""
        for parameter in parameters:
            self._parameters.add(_key(parameter))
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._is_gradient)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Returns the bytes (held, gradients, casts, activations) after each entry, (n, 4), from entry to entry."""
        return np.array(self._rows[start:stop], dtype=np.int64).reshape(-1, 4)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = _SAME.get(func._overloadpacket, func._overloadpacket)  # noqa: SLF001 - the only name of it
        if packet in flop_registry:
            self.macs += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
        is_cast = func is _aten._to_copy.default and _key(args[0]) in self._parameters  # noqa: SLF001
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._enter(tensor.untyped_storage(), CASTS if is_cast and self.kind else self.kind)
        return out

    def _enter(self, storage: torch.UntypedStorage, kind: int) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001 - the storage's identity
        if key in self._kinds:
            return  # a view, or written in place
        self._kinds[key] = kind
        self._add(kind, size)
        weakref.finalize(storage, self._strike, key, size)

    def _strike(self, key: int, size: int) -> None:
        self.now[self._kinds.pop(key)] -= size

    def _is_gradient(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        key, size = _key(gradient), gradient.untyped_storage().nbytes()
        kind = self._kinds.get(key, GRADIENTS)
        if kind != GRADIENTS:
            self._kinds[key] = GRADIENTS
            self.now[kind] -= size
            self._add(GRADIENTS, size)

    def _add(self, kind: int, size: int) -> None:
        self.now[kind] += size
        self._rows.append(tuple(self.now))


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # noqa: SLF001


@contextmanager
def simulated() -> Iterator[Ledger]:
    """Makes tensors fake, and enters them, inside `with`; real ones may be read, and take part as fake ones."""
    with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:
        yield ledger


def stand_in(module: nn.Module, dtype: torch.dtype | None = None) -> Any:
    """Returns a copy with fake tensors, in `dtype` where it is given; call it inside `simulated`."""
    memo: dict[int, Any] = {}
    for tensor in chain(module.parameters(), module.buffers()):
        empty = torch.empty(tensor.shape, dtype=dtype if dtype and tensor.is_floating_point() else tensor.dtype)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(module, memo)


@contextmanager
def cuda_norms() -> Iterator[None]:
    """Under the CPU's autocast, computes norms in float32 too, as CUDA's autocast does: they keep larger activations.

    The functions are replaced, not intercepted: checkpointing calls them again in the backward pass, where torch has
    switched its function modes off.
    """
    plain: Any = F.group_norm, F.layer_norm
    F.group_norm, F.layer_norm = map(_in_float32, plain)
    try:
        yield
    finally:
        F.group_norm, F.layer_norm = plain


def _in_float32(norm: Callable[..., Tensor]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(value.float() if isinstance(value, Tensor) else value for value in args)
        return norm(*args, **kwargs)

    return call
