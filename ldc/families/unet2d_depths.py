"""How many transformer blocks the attentions of a U-Net have, and how diffusers' config says so.

A level is a resolution, 0 the outermost: down block i and up block n - 1 - i share one, and the mid block has that of
the innermost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldc.surgery import Plan

_LIST = "transformer_blocks"


@dataclass(frozen=True)
class Transformer:
    """One attention: the ModuleList of its transformer blocks, its level and its number of blocks."""

    path: str
    level: int
    depth: int


def transformers(unet: Any) -> list[Transformer]:
    """Returns every attention that is made of transformer blocks: of the down stages, the up stages, the mid block."""
    count = len(unet.down_blocks)
    places = [(f"down_blocks.{index}", index) for index in range(count)]
    places += [(f"up_blocks.{index}", len(unet.up_blocks) - 1 - index) for index in range(len(unet.up_blocks))]
    if getattr(unet, "mid_block", None) is not None:
        places.append(("mid_block", count - 1))
    return [
        Transformer(f"{path}.attentions.{index}.{_LIST}", level, depth)
        for path, level in places
        for index, depth in enumerate(depths(unet.get_submodule(path)))
    ]


def depths(block: Any) -> list[int]:
    """Returns the number of transformer blocks of each attention of a stage; none where they are not made of such."""
    found = [getattr(attention, _LIST, None) for attention in getattr(block, "attentions", ())]
    return [len(blocks) for blocks in found if blocks is not None]


def cuts_transformers(plan: Plan) -> bool:
    """Whether an edit of the plan changes the depth of a transformer."""
    return any(edit.path.endswith(f".{_LIST}") for edit in plan.edits)


def derived_depths(unet: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the two config entries for the depths that the edited U-Net's blocks have.

    Args:
        unet: the edited U-Net.
        config: its levels' parent values; those of levels without transformers stay.
    """
    count = len(unet.down_blocks)
    parent = _per_level(config["transformer_layers_per_block"], count)
    reverse = config.get("reverse_transformer_layers_per_block")
    down = _values(unet.down_blocks, parent)
    up = _values(unet.up_blocks, parent[::-1] if reverse is None else reverse)
    mirrored = up == down[::-1] and all(isinstance(value, int) for value in down)
    return {
        "transformer_layers_per_block": down,
        "reverse_transformer_layers_per_block": None if mirrored else up,
    }


def _per_level(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, Sequence) else [value] * count


def _values(blocks: Iterable[Any], parent: Sequence[Any]) -> list[Any]:
    """One number a stage, or a list where its attentions differ in depth."""
    values = []
    for block, value in zip(blocks, parent, strict=True):
        found = depths(block)
        values.append(value if not found else found[0] if len(set(found)) == 1 else found)
    return values
