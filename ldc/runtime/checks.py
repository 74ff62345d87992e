"""Checks of plain settings of a command, by their key."""

from typing import Any

import torch
from omegaconf import DictConfig


def check_whole(cfg: DictConfig, *names: str, least: int = 1) -> None:
    """Raises ValueError for a key that is neither null nor a whole number of at least `least`."""
    for name in names:
        value = cfg[name]
        if value is not None and (type(value) is not int or value < least):
            raise ValueError(f"{name} must be a whole number from {least}, not {value!r}.")


def check_number(cfg: DictConfig, name: str, above: float | None = None, most: float | None = None) -> None:
    """Raises ValueError for a key that is neither null nor a number in (above, most]."""
    value: Any = cfg[name]
    if value is None:
        return
    fits = type(value) in {int, float} and (above is None or value > above) and (most is None or value <= most)
    if not fits:
        rule = "a number" if above is None else f"a number in ({above:g}, {most:g}]"
        raise ValueError(f"{name} must be {rule}, not {value!r}.")


def check_device(device: str) -> None:
    """Raises ValueError for a device that this machine lacks."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that this machine has, such as cpu, not {device!r}.") from error
