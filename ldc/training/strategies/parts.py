"""What this rank holds of a parameter, whatever has sharded it: nothing (DDP), FSDP2 or ZeRO.

Three kinds of sharded parameters are told apart by what they carry: a DTensor (FSDP2), `ds_tensor` (ZeRO-3: the
parameter itself is partitioned) and `_hp_mapping` (ZeRO-1 and 2: the parameter is whole, its updated copy in the
optimizer is partitioned). All others are whole on every rank.

Legend: `values` are elementwise companions of a parameter (an average, a moment), local as `master` is.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ldc.training.strategies.fragments import Fragment

Part = Tensor | Fragment


def is_sharded(parameter: Any) -> bool:
    """Tells whether no rank alone holds all that is updated of the parameter."""
    return isinstance(parameter, DTensor) or hasattr(parameter, "ds_tensor") or hasattr(parameter, "_hp_mapping")


def local(parameter: Any) -> Tensor:
    """Returns the tensor on this rank that the forward pass is made of; elementwise updates are written into it.

    Networks of one architecture that were sharded alike have parts of the same shape.
    """
    if isinstance(parameter, DTensor):
        return parameter.to_local()
    return getattr(parameter, "ds_tensor", parameter)


def master(parameter: Any) -> Tensor | None:
    """Returns the tensor on this rank that the optimizer updates, or None where it is all on other ranks."""
    if hasattr(parameter, "_hp_mapping"):
        return None if parameter._hp_mapping is None else parameter._hp_mapping.hp_fragment  # noqa: SLF001 - ZeRO's
    return local(parameter)


def part(parameter: Any, values: Tensor | None) -> Part | None:
    """Returns local values as a checkpoint takes them, sharing memory; None where there are none on this rank."""
    if isinstance(parameter, DTensor):
        return as_sharded(parameter, values)
    if not is_sharded(parameter):
        return values
    start, length = stretch(parameter)
    return Fragment(values[:length], start, numel(parameter)) if values is not None and length else None


def stretch(parameter: Any) -> tuple[int, int]:
    """Returns start and length of this rank's elements of a flattened parameter of ZeRO's; 0 where it has none."""
    if hasattr(parameter, "ds_tensor"):
        size = parameter.ds_tensor.ds_numel  # the last ranks' are padded
        start = size * torch.distributed.get_rank()
        return start, max(0, min(size, parameter.ds_numel - start))
    if parameter._hp_mapping is None:  # noqa: SLF001 - ZeRO's
        return 0, 0
    address = parameter._hp_mapping.lp_fragment_address  # noqa: SLF001
    return address.start, address.numel


def as_sharded(parameter: DTensor, values: Any) -> DTensor:
    """Returns local values as a DTensor with the parameter's shape and placement."""
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(
        values, mesh, placements, run_check=False, shape=parameter.shape, stride=parameter.stride()
    )


def numel(parameter: Any) -> int:
    """Returns the number of elements of the whole parameter."""
    return parameter.ds_numel if hasattr(parameter, "ds_tensor") else parameter.numel()


def shape(parameter: Any) -> torch.Size:
    """Returns the shape of the whole parameter."""
    return torch.Size(parameter.ds_shape) if hasattr(parameter, "ds_tensor") else parameter.shape


def stored_shape(parameter: Any) -> torch.Size:
    """Returns the shape that the whole parameter has in a checkpoint: ZeRO's are flattened."""
    flat = is_sharded(parameter) and not isinstance(parameter, DTensor)
    return torch.Size([numel(parameter)]) if flat else shape(parameter)


@torch.no_grad()
def whole(parameter: Any, values: Tensor | None) -> Tensor:
    """Returns the whole of a parameter's local values, on every rank; where it is sharded all ranks must call it."""
    if isinstance(parameter, DTensor):
        return as_sharded(parameter, values).full_tensor()
    if not is_sharded(parameter):
        return given(values)
    found = part(parameter, values)
    device = parameter.ds_tensor.device if hasattr(parameter, "ds_tensor") else parameter.device
    dtype = parameter.ds_tensor.dtype if hasattr(parameter, "ds_tensor") else parameter.dtype
    full = torch.zeros(numel(parameter), dtype=dtype, device=device)
    if isinstance(found, Fragment):
        full[found.start : found.start + len(found.values)] = found.values
    torch.distributed.all_reduce(full)  # each element comes from one rank, the others add 0
    return full.view(shape(parameter))


def given(values: Tensor | None) -> Tensor:
    """Returns values that a rank must have."""
    if values is None:
        raise ValueError("values must be given for a parameter that is whole on every rank, not None.")
    return values
