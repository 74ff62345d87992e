"""Block removal: the student architectures Base, Small and Tiny of BK-SDM (Kim et al. 2023, sections 3.1 to 3.3).

A rule, not a table: it fits any U-Net of (resnet, attention) pairs with any number of stages. Where attentions are
several transformer blocks deep, as Stable Diffusion XL's, their depth can be cut too.
"""

from collections.abc import Sequence
from typing import Any

from ldc.families.unet2d import Stage, stages
from ldc.families.unet2d_depths import transformers
from ldc.surgery import Detach, Keep, Plan

VARIANTS = ("base", "small", "tiny", "none")


class BlockRemoval:
    """Removes blocks by place; it needs neither data nor a budget.

    base: of every down stage the first pair stays, of every up stage the first and the last. The first pair handles the
    stage's new resolution and width, and the last of an up stage takes the skip from the down stage's entry, so all
    shapes still fit.
    small: base, and the mid block goes.
    tiny: small, and the innermost down and up stage go, with the sampler that led there.
    none: every block stays.

    Args:
        variant: base, small, tiny or none.
        transformer_depth: the most transformer blocks that an attention keeps, its first ones: one number, or one a
            level with the outermost first, as diffusers' `transformer_layers_per_block`. None keeps all.

    Raises:
        ValueError: the variant is unknown, or the depth is not of whole numbers from 1.
    """

    def __init__(self, variant: str, transformer_depth: int | Sequence[int] | None = None) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant must be {', '.join(VARIANTS[:-1])} or {VARIANTS[-1]}, not {variant!r}.")
        self.variant = variant
        self.transformer_depth = _checked(transformer_depth)

    def plan(self, model: Any, calibration: Any = None, budget: Any = None) -> Plan:  # noqa: ARG002 - a pruner's contract
        """Returns the plan for `model`, which is not edited.

        Raises:
            ValueError: the variant or the depth does not fit the model's topology.
        """
        edits = [] if self.variant == "none" else self._blocks(model)
        if self.transformer_depth is not None:
            edits += _shallower(model, Plan(edits), self.transformer_depth)
        return Plan(edits)

    def _blocks(self, model: Any) -> list[Keep | Detach]:
        down, up = stages(model, "down"), stages(model, "up")
        edits: list[Keep | Detach] = []
        if self.variant in {"small", "tiny"}:
            edits.append(self._mid(model))
        if self.variant == "tiny":
            edits += self._innermost(model, down, up)
            down, up = down[:-1], up[1:]
        for stage in down:
            edits += _keep(stage, (0,))
        for stage in up:
            edits += _keep(stage, tuple(sorted({0, stage.pairs - 1})))
        if not edits:
            raise ValueError(
                f"variant base must find stages with more than one pair, but {type(model).__name__} has none."
            )
        return edits

    def _mid(self, model: Any) -> Detach:
        if getattr(model, "mid_block", None) is None:
            raise ValueError(f"variant must be base or none for a U-Net without a mid block, not {self.variant!r}.")
        return Detach("mid_block")

    def _innermost(self, model: Any, down: list[Stage], up: list[Stage]) -> list[Keep | Detach]:
        if len(down) == 1 or len(down) != len(up):
            found = f"{len(down)} down and {len(up)} up stages"
            raise ValueError(f"variant must be base, small or none for a U-Net of {found}, not 'tiny'.")
        if down[-1].channels != down[-2].channels:
            # The remaining innermost up stage takes as many channels as the removed one gave.
            widths = f"{down[-2].channels} and {down[-1].channels}"
            rule = "variant must be base, small or none where the two innermost stages differ in width"
            raise ValueError(f"{rule} ({widths}), not 'tiny'.")
        entry = f"{down[-2].path}.downsamplers"
        sampler = (
            [Detach(entry)] if getattr(model.get_submodule(down[-2].path), "downsamplers", None) is not None else []
        )
        count = len(down)
        return [Keep("down_blocks", tuple(range(count - 1))), Keep("up_blocks", tuple(range(1, count))), *sampler]


def _keep(stage: Stage, indices: tuple[int, ...]) -> list[Keep | Detach]:
    if len(indices) == stage.pairs:
        return []
    return [Keep(f"{stage.path}.{name}", indices) for name in stage.lists]


def _checked(depth: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
    if depth is None:
        return None
    numbers = tuple(depth) if isinstance(depth, Sequence) else (depth,)
    if not numbers or not all(type(number) is int and number >= 1 for number in numbers):
        raise ValueError(f"transformer_depth must be a whole number from 1, or a list with one a level, not {depth!r}.")
    return numbers if isinstance(depth, Sequence) else numbers[0]


def _shallower(model: Any, plan: Plan, depth: int | tuple[int, ...]) -> list[Keep]:
    """Cuts the transformers that `plan` leaves."""
    levels = len(stages(model, "down"))
    limits = (depth,) * levels if isinstance(depth, int) else depth
    if len(limits) != levels:
        raise ValueError(f"transformer_depth must have one number for each of {levels} levels, not {len(limits)}.")
    left = [each for each in transformers(model) if plan.rename(each.path) is not None]
    edits = [Keep(each.path, tuple(range(limits[each.level]))) for each in left if each.depth > limits[each.level]]
    if not edits:
        deepest = max((each.depth for each in left), default=0)
        raise ValueError(
            f"transformer_depth must be below the depth of a transformer that stays (at most {deepest}), not {depth}."
        )
    return edits
