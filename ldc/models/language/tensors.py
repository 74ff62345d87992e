"""A model's tensors, tied ones once, and the strict filling of a model with what a file holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def own_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Returns the state dict with tied tensors once, under their first name."""
    names = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), (name, tensor))
    return dict(names.values())


def fill(model: Any, tensors: Mapping[str, torch.Tensor], folder: Path, subject: str) -> None:
    """Gives the model the tensors of a folder, by their names.

    Raises:
        ValueError: they are not exactly the model's, by names and shapes.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in own_tensors(model).items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if different := sorted(name for name in expected.keys() | found if expected.get(name) != found.get(name)):
        raise ValueError(
            f"{subject} must have exactly the tensors of its config and plan, but {folder} differs in "
            f"{len(different)}, first {different[0]!r}."
        )
    model.load_state_dict(dict(tensors), strict=False)  # compared above; a tied tensor is there under one name
