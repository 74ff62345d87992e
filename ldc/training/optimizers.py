"""Optimizers by name: plain functions of parameters, so that a config can fill in the rest."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import AdamW

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


def adamw(
    params: Iterable[Parameter] | Iterable[dict[str, Any]],
    lr: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    fused: bool | None = None,
) -> AdamW:
    """Returns AdamW (Loshchilov and Hutter 2019), in one fused kernel where the parameters' device has one.

    A fused optimizer can also be told on the device to leave out a step, which the finite check uses.

    Args:
        params: parameters on the device where they are trained, or groups of them with settings of their own, as torch
            takes them ({"params": [...], "lr": ...}).
        lr: learning rate of a step before any schedule.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled, times the learning rate.
        fused: None decides by device and dtype.

    Raises:
        ValueError: there is nothing to train.
    """
    groups: list[Any] = list(params)
    tensors = [p for group in groups for p in (group["params"] if isinstance(group, dict) else [group])]
    if not tensors:
        raise ValueError("params must hold at least one parameter that requires a gradient, not 0.")
    if fused is None:
        fused = all(p.device.type in FUSED_DEVICES and torch.is_floating_point(p) for p in tensors)
    return AdamW(groups, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, fused=fused)
