"""The family of diffusers' conditional U-Nets (Stable Diffusion 1 and 2): stages, key map, settling after an edit.

A stage is a down or up block: a row of (resnet, attention) pairs, and a sampler that leads to the next resolution.
Cutting pairs and stages out of the ModuleLists renumbers the rest into the key names of a stock U-Net, so no table of
names is needed; only counters and the config must follow (`settle`). Models are typed `Any`: they are read by name.
"""

import logging
from dataclasses import dataclass
from typing import Any

from ldc.families.unet2d_config import derived_config, matches
from ldc.surgery import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One down or up block.

    `lists` names the ModuleLists that hold its pairs, in step: ("resnets",) or ("resnets", "attentions").
    """

    path: str
    lists: tuple[str, ...]
    pairs: int
    channels: int


@dataclass(frozen=True)
class Unit:
    """What a pruner may take out as one: the module paths that go together, and their number of parameters."""

    name: str
    paths: tuple[str, ...]
    params: int


def stages(unet: Any, side: str) -> list[Stage]:
    """Returns the stages of one side ("down" or "up"), outermost down stage or innermost up stage first.

    Raises:
        ValueError: the model is not a U-Net of (resnet, attention) pairs.
    """
    blocks = getattr(unet, f"{side}_blocks", None)
    if not blocks or not all(len(getattr(block, "resnets", ())) for block in blocks):
        raise ValueError(
            f"model must have {side}_blocks that hold resnets, as Stable Diffusion's U-Net, not {_name(unet)}."
        )
    return [_stage(f"{side}_blocks.{index}", block) for index, block in enumerate(blocks)]


def _stage(path: str, block: Any) -> Stage:
    count = len(block.resnets)
    lists = tuple(name for name in ("resnets", "attentions") if len(getattr(block, name, ())) == count)
    return Stage(path, lists, count, int(block.resnets[-1].out_channels))


def _name(model: Any) -> str:
    return type(model).__name__


def units(unet: Any) -> list[Unit]:
    """Returns every pair of every stage, and the mid block where there is one."""
    found = []
    for stage in stages(unet, "down") + stages(unet, "up"):
        for index in range(stage.pairs):
            paths = tuple(f"{stage.path}.{name}.{index}" for name in stage.lists)
            found.append(Unit(f"{stage.path}.{index}", paths, sum(_params(unet, path) for path in paths)))
    if getattr(unet, "mid_block", None) is not None:
        found.append(Unit("mid_block", ("mid_block",), _params(unet, "mid_block")))
    return found


def _params(model: Any, path: str) -> int:
    return sum(parameter.numel() for parameter in model.get_submodule(path).parameters())


def settle(unet: Any, plan: Plan) -> None:
    """Puts the counters right after an edit, and the config where the edited U-Net is a stock one.

    An edited U-Net that no stock config describes keeps its parent's config, and says so in the log.
    """
    unet.num_upsamplers = sum(getattr(block, "upsamplers", None) is not None for block in unet.up_blocks)
    for index, block in enumerate(unet.up_blocks):
        block.resolution_idx = index
    config = derived_config(unet, plan)
    if config is None or not matches(unet, config):
        logger.info("The edited U-Net has no stock config; it is described by its parent's config and the plan.")
        return
    unet.register_to_config(**{key: config[key] for key in config if config[key] != unet.config.get(key)})


def stock_config(unet: Any) -> dict[str, Any] | None:
    """Returns the config with which stock diffusers builds exactly this U-Net, or None if there is none.

    Decided on the meta device: names, shapes, module types and their printed settings must agree.
    """
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    return config if matches(unet, config) else None
