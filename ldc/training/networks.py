"""What training does to networks before the first step: freeze and cast the teacher, copy the target, set the taps."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldc.families.taps import Tapped
from ldc.models.precision import cast


def frozen_copy(module: nn.Module) -> nn.Module:
    """Returns a copy in evaluation mode whose parameters take no gradient: the start of a moving average."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def move_towards(averages: Iterable[Tensor], values: Iterable[Tensor], weight: float) -> None:
    """Sets each average to (1 - weight) average + weight value, in place, in one kernel where the device has one."""
    starts: list[Tensor] = list(averages)
    ends: list[Tensor] = list(values)
    torch._foreach_lerp_(starts, ends, weight)


def freeze(teacher: Any, dtype: str | torch.dtype | None = None) -> Any:
    """Puts a teacher in evaluation mode without gradients, and casts it where a dtype is given, in place.

    Objectives call a network in its own precision, so a teacher in bfloat16 needs nothing else.

    Raises:
        ValueError: there is no such floating dtype.
    """
    if dtype is not None and getattr(teacher, "dtype", None) != floating_dtype(dtype):
        cast(teacher, floating_dtype(dtype))
    return teacher.eval().requires_grad_(False)


def floating_dtype(name: str | torch.dtype) -> torch.dtype:
    """Returns torch's floating dtype of that name.

    Raises:
        ValueError: there is none.
    """
    dtype = getattr(torch, name, None) if isinstance(name, str) else name
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"teacher_dtype must be float32, bfloat16, float16 or none, not {name!r}.")
    return dtype


def tapped(module: Any, points: Sequence[str]) -> Any:
    """Returns the module wrapped so that it also gives the activations at `points`, or itself where there are none."""
    return Tapped(module, points) if points else module


def checkpoint_gradients(network: Any) -> None:
    """Turns on a network's own gradient checkpointing.

    Raises:
        ValueError: the network has none.
    """
    if not hasattr(network, "enable_gradient_checkpointing"):
        raise ValueError(f"gradient_checkpointing must be off for {type(network).__name__}, which has none.")
    network.enable_gradient_checkpointing()


def check_needs(objective: Any, teacher: Any, target_decay: float | None) -> None:
    """Raises ValueError where the objective needs a network that is not there."""
    needs = getattr(objective, "needs", ())
    if "teacher" in needs and teacher is None:
        raise ValueError(f"teacher must be given for {type(objective).__name__}, not None.")
    if "target" in needs and target_decay is None:
        raise ValueError(f"target_decay must be given for {type(objective).__name__}, not None.")
