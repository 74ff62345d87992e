"""What a checkpoint holds of networks: student, target and published average by prefixed names, never the teacher."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ldc.training.strategies.parts import Part, master, part, stored_shape

AVERAGE = "average."

Networks = Mapping[str, nn.Module | None]  # "student" and "target", by the prefix of their names


def tensors(networks: Networks) -> dict[str, Tensor]:
    """Returns all tensors by prefixed name, the parameters themselves among them; a tied one has its first name."""
    found: dict[int, tuple[str, Tensor]] = {}
    for prefix, network in networks.items():
        for name, tensor in {} if network is None else network.state_dict(keep_vars=True).items():
            found.setdefault(id(tensor), (f"{prefix}.{name}", tensor))
    return dict(found.values())


@torch.no_grad()
def stored(networks: Networks, average: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns this rank's parts as a checkpoint takes them; loading in place writes through them.

    Where nothing is sharded they are the tensors that `state_dict` gives.
    """
    parts: dict[str, Part | None] = {}
    for name, tensor in tensors(networks).items():
        is_parameter = isinstance(tensor, nn.Parameter)
        parts[name] = part(tensor, detached(master(tensor))) if is_parameter else tensor
    parameters = tensors({"student": networks["student"]})
    for name, values in average.items():
        parts[AVERAGE + name] = part(parameters[f"student.{name}"], values)
    return {name: found for name, found in parts.items() if found is not None}


def detached(values: Tensor | None) -> Tensor | None:
    """Returns a tensor without its graph, where there is one."""
    return None if values is None else values.detach()


def stored_shapes(networks: Networks, *, averaged: bool) -> dict[str, torch.Size]:
    """Returns the shapes that a whole checkpoint has, over all ranks."""
    found = {
        name: stored_shape(tensor) if isinstance(tensor, nn.Parameter) else tensor.shape
        for name, tensor in tensors(networks).items()
    }
    if averaged:
        student = tensors({"": networks["student"]})
        trained = {name: p for name, p in student.items() if isinstance(p, nn.Parameter) and p.requires_grad}
        found |= {f"average{name}": stored_shape(p) for name, p in trained.items()}
    return found


def check_complete(given: Mapping[str, torch.Size], expected: Mapping[str, torch.Size]) -> None:
    """Checks that a checkpoint's tensors are exactly the expected ones by name and shape.

    Raises:
        ValueError: they are not.
    """
    averaged = any(name.startswith(AVERAGE) for name in expected)
    if averaged and not any(name.startswith(AVERAGE) for name in given):
        raise ValueError("the checkpoint must hold the average of the weights, but it has none.")
    for names, word in ((expected.keys() - given.keys(), "missing"), (given.keys() - expected.keys(), "unknown")):
        if names:
            raise ValueError(
                f"the checkpoint must hold exactly the {len(expected)} tensors of"
                f" {'student, target and average' if averaged else 'student and target'},"
                f" but {len(names)} are {word}, the first {min(names)!r}."
            )
    for name, wanted in expected.items():
        if given[name] != wanted:
            raise ValueError(f"{name} must have shape {tuple(wanted)}, not {tuple(given[name])}.")
