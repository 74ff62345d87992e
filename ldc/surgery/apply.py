"""Carries out a plan on a model, in place: resolve every path first, then edit the deepest first."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ldc.surgery.edits import Detach, Edit, Keep, Skip, Slice
from ldc.surgery.plan import Plan
from ldc.surgery.slicing import check_slice, slice_layer


class Skipped(nn.Module):
    """Stands where a module was: returns the first argument ("identity") or zeros like it ("zero").

    A caller that asks for `return_dict=False`, as diffusers' blocks do, gets a tuple of one.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, hidden_states: torch.Tensor, *_args: Any, return_dict: bool | None = None, **_kwargs: Any) -> Any:
        out = torch.zeros_like(hidden_states) if self.kind == "zero" else hidden_states
        return (out,) if return_dict is False else out

    def extra_repr(self) -> str:
        return self.kind


def apply(model: nn.Module, plan: Plan, settle: Callable[[Any, Plan], None] | None = None) -> nn.Module:
    """Edits `model` in place and returns it.

    Surviving modules stay the same objects, so their weights are untouched; a sliced layer, too, stays the same object,
    with copies of what is kept of its tensors. `settle(model, plan)`, which a family
    gives, then puts counters, indices and the config right.

    Raises:
        ValueError: a path is not in the model, or an edit does not fit what it names. The model is then unedited.
    """
    resolved = [(edit, _parent(model, edit)) for edit in plan.edits]
    for edit, parent in resolved:
        _check(edit, parent)
    # A Keep below another Keep must still find its list in place: deepest first, whatever the plan's order.
    for edit, parent in sorted(resolved, key=lambda pair: -pair[0].path.count(".")):
        _edit(edit, parent)
    if settle is not None:
        settle(model, plan)
    return model


def _parent(model: nn.Module, edit: Edit) -> nn.Module:
    parent, _, leaf = edit.path.rpartition(".")
    try:
        module = model.get_submodule(parent)
    except AttributeError:
        module = None
    if module is None or leaf not in module._modules:  # noqa: SLF001 - the one place that says whether a child exists
        raise ValueError(f"path of an edit must be a module of the model, not {edit.path!r}.")
    return module


def _check(edit: Edit, parent: nn.Module) -> None:
    child = getattr(parent, edit.path.rpartition(".")[2])
    if child is None:
        raise ValueError(f"{edit.name} must name a module that is there, but {edit.path!r} is None.")
    if isinstance(edit, Keep):
        if not isinstance(child, nn.ModuleList):
            raise ValueError(  # noqa: TRY004 - a plan is a user's input, and every bad input is a ValueError
                f"keep must name a ModuleList, but {edit.path!r} is a {type(child).__name__}."
            )
        if edit.indices[-1] >= len(child):
            raise ValueError(f"indices of {edit.path} must be below its length {len(child)}, not {edit.indices}.")
    if isinstance(edit, Slice):
        check_slice(child, edit)


def _edit(edit: Edit, parent: nn.Module) -> None:
    leaf = edit.path.rpartition(".")[2]
    match edit:
        case Keep(indices=indices):
            children = getattr(parent, leaf)
            setattr(parent, leaf, nn.ModuleList(children[index] for index in indices))
        case Detach():
            setattr(parent, leaf, None)
        case Skip(kind=kind):
            setattr(parent, leaf, Skipped(kind))
        case Slice():
            slice_layer(getattr(parent, leaf), edit)
