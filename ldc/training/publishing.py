"""The student as others take it: a plain network of whole tensors, with the weights that are published."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldc.training.strategies.parts import is_sharded, master, whole


def skeleton(network: nn.Module) -> nn.Module:
    """Returns a copy whose tensors have shapes but no values (buffers that no checkpoint holds keep theirs)."""
    memo: dict[int, Any] = {}
    for tensor in network.state_dict(keep_vars=True).values():
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(network, memo)


@contextmanager
def published_student(module: Any, average: Any) -> Iterator[nn.Module | None]:
    """Gives rank zero the student with the averaged weights where there are any, and None to the others.

    All ranks must enter. A sharded student is gathered, tensor by tensor, into a network of its own; another is lent
    the average until the end.
    """
    student, wanted = module.bare_student, module.trainer.is_global_zero
    if any(is_sharded(p) for p in student.parameters()):
        yield gathered(student, {} if average is None else average.average, module.skeleton[0], wanted=wanted)
    elif not wanted:
        yield None
    elif average is None:
        yield student
    else:
        with average.applied(student):
            yield student


@torch.no_grad()
def gathered(student: nn.Module, average: Mapping[str, Tensor], shapes: nn.Module, *, wanted: bool) -> nn.Module | None:
    """Returns a network with the whole of a sharded student's tensors, or None where it is not wanted."""
    tensors: dict[str, Tensor | None] = {}
    copies: dict[int, Tensor | None] = {}  # by the shard: a weight under two names stays one
    for name, tensor in student.state_dict(keep_vars=True).items():
        if id(tensor) not in copies:
            found = tensor
            if isinstance(tensor, nn.Parameter):
                # A rank that has no part of an average has none of the weights either: `values` is None for both.
                values = average.get(name, None) if average and tensor.requires_grad else master(tensor)
                found = whole(tensor, values)
            copies[id(tensor)] = copied(found, tensor) if wanted else None
        tensors[name] = copies[id(tensor)]
    if not wanted:
        return None
    network = copy.deepcopy(shapes)
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.train(student.training)


def copied(values: Tensor, like: Tensor) -> Tensor:
    """Returns a copy of values, as a parameter where `like` is one."""
    copy_ = values.detach().clone()
    return nn.Parameter(copy_, requires_grad=like.requires_grad) if isinstance(like, nn.Parameter) else copy_
