"""A plan: the edits that turn a model into a smaller one, named on the unedited model.

A plan is data: order-free, without weights, written as JSON beside the student that it made.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ldc.surgery.edits import Detach, Edit, Keep, Skip, Slice, edit_from_json, edit_to_json

SCHEMA = 1


@dataclass(frozen=True, init=False)
class Plan:
    """A set of edits, at most one a path; two plans with the same edits in another order are equal.

    Raises:
        ValueError: two edits name the same path.
    """

    edits: tuple[Edit, ...]

    def __init__(self, edits: Iterable[Edit] = ()) -> None:
        ordered = sorted(edits, key=lambda edit: edit.path)
        for first, second in pairwise(ordered):
            if first.path == second.path:
                raise ValueError(f"a plan must have at most one edit a path, not {first} and {second}.")
        object.__setattr__(self, "edits", tuple(ordered))

    def to_json(self) -> dict[str, Any]:
        """Returns {"schema": 1, "edits": [...]}, edits sorted by path."""
        return {"schema": SCHEMA, "edits": [edit_to_json(edit) for edit in self.edits]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Returns the plan that `to_json` wrote.

        Raises:
            ValueError: another schema, or an unknown edit.
        """
        schema = content.get("schema")
        if schema != SCHEMA:
            raise ValueError(f"schema of a plan must be {SCHEMA}, not {schema!r}.")
        return cls(edit_from_json(edit) for edit in content.get("edits", []))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the edits, whatever their order."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def save(self, path: Path | str) -> None:
        """Writes the plan as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> "Plan":
        """Reads a plan that `save` wrote.

        Raises:
            ValueError: the file is not JSON, or not a plan of this schema.
        """
        try:
            content = json.loads(Path(path).read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} must be a plan in JSON, but reading it failed: {error}.") from error
        return cls.from_json(content)

    def detaches(self, path: str) -> bool:
        """Whether the child at `path` is set to None."""
        return Detach(path) in self.edits

    def kept(self, path: str, length: int) -> tuple[int, ...]:
        """Returns the indices that stay of the ModuleList at `path`, which has `length` entries."""
        for edit in self.edits:
            if isinstance(edit, Keep) and edit.path == path:
                return edit.indices
        return tuple(range(length))

    def rename(self, name: str) -> str | None:
        """Returns the edited model's name of a module or tensor of the unedited model, or None where it is gone.

        The skipped module itself stays in its place, so its path survives; what was below it does not. A sliced layer
        keeps its name, and `cut` says what stays of its tensors.
        """
        parts = name.split(".")
        for edit in self.edits:
            path = edit.path.split(".")
            inside = name.split(".")[: len(path)] == path
            if not inside:
                continue
            if isinstance(edit, Detach) or (isinstance(edit, Skip) and len(parts) > len(path)):
                return None
            if isinstance(edit, Keep) and len(parts) > len(path):
                # Each Keep changes only the part that follows its own path, so the edits do not disturb each other.
                index = int(name.split(".")[len(path)])
                if index not in edit.indices:
                    return None
                parts[len(path)] = str(edit.indices.index(index))
        return ".".join(parts)

    def cut(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Returns what the edited model has of the unedited model's tensor `name`: its slice, or all of it.

        What a slice's `bias` adds is not there, as the unedited model has no such tensor.
        """
        layer = name.rpartition(".")[0]
        for edit in self.edits:
            if isinstance(edit, Slice) and edit.path == layer:
                return edit.cut(tensor)
        return tensor


def key_map(teacher: Any, plan: Plan) -> dict[str, str]:
    """Returns {student's tensor name: teacher's tensor name} for every tensor of the student that was the teacher's."""
    renamed = ((plan.rename(key), key) for key in teacher.state_dict())
    return {student: key for student, key in renamed if student is not None}
