"""The edits that a plan is made of: each names a module path of the unedited model and what becomes of it.

An edit holds no weights and knows no architecture; `ldc.surgery.apply` carries it out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from itertools import pairwise
from typing import Any, ClassVar

import torch


@dataclass(frozen=True)
class Keep:
    """Keeps these entries of the ModuleList at `path`, in ascending order, and renumbers them from 0."""

    name: ClassVar[str] = "keep"
    path: str
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        indices = tuple(int(index) for index in self.indices)
        if not indices or list(indices) != sorted(set(indices)) or indices[0] < 0:
            raise ValueError(f"indices of {self.path} must be ascending, distinct and at least one, not {indices}.")
        object.__setattr__(self, "indices", indices)


@dataclass(frozen=True)
class Detach:
    """Sets the optional child at `path` to None."""

    name: ClassVar[str] = "detach"
    path: str


@dataclass(frozen=True)
class Skip:
    """Replaces the module at `path` by one that returns its first argument ("identity") or zeros like it ("zero")."""

    name: ClassVar[str] = "skip"
    path: str
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in {"identity", "zero"}:
            raise ValueError(f"kind of skip at {self.path} must be identity or zero, not {self.kind!r}.")


@dataclass(frozen=True)
class Slice:
    """Keeps these output and input channels of the layer at `path`, in ascending order; None keeps all of a side.

    Channels may be given as text, too: "0-63,128-191", both ends kept. With `bias`, a layer without a bias gets one of
    zeros: room for what its removed inputs contributed on average.
    """

    name: ClassVar[str] = "slice"
    path: str
    outputs: tuple[int, ...] | None = None
    inputs: tuple[int, ...] | None = None
    bias: bool = False

    def __post_init__(self) -> None:
        for side in ("outputs", "inputs"):
            channels: Any = getattr(self, side)
            if channels is None:
                continue
            channels = from_ranges(channels) if isinstance(channels, str) else tuple(int(index) for index in channels)
            if not channels or channels[0] < 0 or any(later <= former for former, later in pairwise(channels)):
                text = to_ranges(channels) if channels else "none"
                raise ValueError(f"{side} of {self.path} must be ascending, distinct and at least one, not {text}.")
            object.__setattr__(self, side, channels)

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns what stays of one of the layer's tensors, as a copy: outputs are axis 0 and inputs axis 1.

        A bias or a statistic (one axis) has outputs only, a counter (no axis) stays as it is.
        """
        for axis, channels in enumerate((self.outputs, self.inputs)):
            if channels is not None and tensor.ndim > axis:
                tensor = tensor.index_select(axis, torch.tensor(channels, device=tensor.device))
        return tensor.clone()


Edit = Keep | Detach | Skip | Slice
KINDS: dict[str, type[Edit]] = {kind.name: kind for kind in (Keep, Detach, Skip, Slice)}


def to_ranges(indices: Sequence[int]) -> str:
    """Returns ascending indices as text, such as "0-63,70,128-191"."""
    starts = [index for at, index in enumerate(indices) if at == 0 or index != indices[at - 1] + 1]
    ends = [index for at, index in enumerate(indices) if at + 1 == len(indices) or indices[at + 1] != index + 1]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def from_ranges(text: str) -> tuple[int, ...]:
    """Returns the indices that `to_ranges` wrote.

    Raises:
        ValueError: the text is not of numbers and ranges.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise ValueError(f"channels must be numbers and ranges such as '0-63,70', not {text!r}.")
    parts = (part.partition("-") for part in text.split(","))
    return tuple(index for first, _, last in parts for index in range(int(first), int(last or first) + 1))


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """Returns {"edit": name, "path": path, ...}; thousands of channels of a slice are written as ranges."""
    write = to_ranges if isinstance(edit, Slice) else list
    fields = {key: write(value) if isinstance(value, tuple) else value for key, value in asdict(edit).items()}
    return {"edit": edit.name, **fields}


def edit_from_json(content: Mapping[str, Any]) -> Edit:
    """Returns the edit that `edit_to_json` wrote.

    Raises:
        ValueError: the kind is unknown, or its fields are not those of the kind.
    """
    fields = dict(content)
    name = fields.pop("edit", None)
    if name not in KINDS:
        raise ValueError(f"edit must be one of {', '.join(KINDS)}, not {name!r}.")
    try:
        return KINDS[name](**fields)
    except TypeError:
        allowed = ", ".join(field.name for field in dataclass_fields(KINDS[name]))
        raise ValueError(f"edit {name} must have the fields {allowed}, not {', '.join(fields) or 'none'}.") from None
