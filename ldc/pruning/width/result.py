"""What width pruning gives: the plan, tensors that the plan cannot hold, and the counts that were reached."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ldc.families.llama import BLOCKS, blocks
from ldc.families.llama_width import DOWN, OUT, group_slices, neuron_slices
from ldc.profiling import params as num_params
from ldc.pruning.width.sizes import Kept, model_widths
from ldc.surgery import Plan, Slice

logger = logging.getLogger(__name__)


class WidthResult(NamedTuple):
    """A plan of slices.

    `tensors` are what the student gets beside the teacher's, by its names: see `install`.
    `counts` has "parent_params", "params", "target_params" (None for a ratio), "removed_ratio", "bias_params", and
    for each block "heads", "kv_heads" and "neurons".
    """

    plan: Plan
    tensors: dict[str, Tensor]
    counts: dict[str, Any]


def width_result(
    model: Any, kept: Kept, target_params: int | None, *, bias: bool = False, means: Sequence[Any] | None = None
) -> WidthResult:
    """Returns the plan that keeps these groups and neurons of `model`, with its counts, which are logged.

    Args:
        model: the unedited model; on the meta device what is kept is no more than a size, and nothing is logged.
        kept: of each block.
        target_params: what was asked for.
        bias: the projections that lose inputs get a bias.
        means: mean inputs of each block's output and down projection, which the biases make up for.
    """
    edits: list[Slice] = []
    tensors: dict[str, Tensor] = {}
    for index, block in enumerate(blocks(model)):
        path = f"{BLOCKS}.{index}"
        groups = group_slices(path, block, kept.groups[index], bias=bias)
        neurons = neuron_slices(path, block, kept.neurons[index], bias=bias)
        edits += groups + neurons
        if bias and means is not None:
            for name, sliced, mean in zip((OUT, DOWN), (groups, neurons), means[index], strict=True):
                if sliced:
                    tensors[f"{path}.{name}.bias"] = _compensation(block.get_submodule(name), sliced[-1], mean)
    counts = _counts(model, kept, target_params, bias=bias)
    if not next(model.parameters()).is_meta:
        _report(counts, target_params)
    return WidthResult(Plan(edits), tensors, counts)


def _report(counts: dict[str, Any], target_params: int | None) -> None:
    logger.info(
        "Kept %s of %s parameters (%.2f %% less; wanted %s): heads %s, neurons %s.",
        f"{counts['params']:,}",
        f"{counts['parent_params']:,}",
        100 * counts["removed_ratio"],
        "a ratio" if target_params is None else f"{target_params:,}",
        counts["heads"],
        counts["neurons"],
    )


def _compensation(linear: Any, edit: Slice, mean: Tensor) -> Tensor:
    """What the removed inputs give on average, W (mean of what is removed), beside the bias that is there."""
    gone = mean.to(linear.weight.device, torch.float32, copy=True)
    gone[list(edit.inputs or ())] = 0
    bias = linear.weight.detach().float() @ gone  # (outputs,)
    if linear.bias is not None:
        bias = bias + linear.bias.detach().float()
    return bias.to(linear.weight.dtype)


def bias_params(model: Any, kept: Kept) -> int:
    """Returns the parameters of the biases that projections get which lose inputs and have none."""
    added = 0
    for block, width, groups, neurons in zip(blocks(model), model_widths(model), *kept, strict=True):
        for name, loses in ((OUT, len(groups) < width.groups), (DOWN, len(neurons) < width.neurons)):
            linear = block.get_submodule(name)
            added += linear.out_features if loses and linear.bias is None else 0
    return added


def _counts(model: Any, kept: Kept, target_params: int | None, *, bias: bool) -> dict[str, Any]:
    each, total = model_widths(model), num_params(model)
    added = bias_params(model, kept) if bias else 0
    gone = sum(
        (width.groups - len(groups)) * width.group_params + (width.neurons - len(neurons)) * width.neuron_params
        for width, groups, neurons in zip(each, *kept, strict=True)
    )
    return {
        "parent_params": total,
        "params": total - gone + added,
        "target_params": target_params,
        "removed_ratio": (gone - added) / total,
        "bias_params": added,
        "heads": [len(groups) * width.group_heads for groups, width in zip(kept.groups, each, strict=True)],
        "kv_heads": [len(groups) for groups in kept.groups],
        "neurons": [len(neurons) for neurons in kept.neurons],
    }


def install(student: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts a result's tensors into the student that its plan made.

    Raises:
        ValueError: the student has no parameter of that name and shape.
    """
    parameters = dict(student.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise ValueError(f"student must have a parameter {name} of shape {tuple(tensor.shape)}, but has none.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
