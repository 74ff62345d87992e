"""The edits that a plan is made of: each names a module path of the unedited model and what becomes of it.

An edit holds no weights and knows no architecture; `ldc.surgery.apply` carries it out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar


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


Edit = Keep | Detach | Skip
KINDS: dict[str, type[Edit]] = {kind.name: kind for kind in (Keep, Detach, Skip)}


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """Returns {"edit": name, "path": path, ...}."""
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(edit).items()}
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
