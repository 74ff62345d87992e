"""A moving average of the student's weights for publishing; the target of consistency distillation is another thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from ldc.training.networks import move_towards
from ldc.training.strategies.parts import local, master


def decay(update: int, cap: float = 0.9999) -> float:
    """Returns the share that update k = 0, 1, ... keeps of the average: 0, then min(cap, (1 + k) / (10 + k)).

    The first update copies the weights (diffusers' EMAModel, as BK-SDM used it).
    """
    return min(cap, (1 + update) / (10 + update)) if update > 0 else 0.0


class WeightAverage(Callback):
    """Averages the student's parameters after each optimizer step: average <- d average + (1 - d) weights.

    The module saves the average with its networks, so that every rank writes its part of it where they are sharded; its
    count is saved here. Buffers and frozen weights (LoRA's base) are not averaged.
    """

    kind = "average"

    def __init__(self, cap: float = 0.9999):
        self.cap = cap
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def values(self, network: nn.Module) -> dict[str, Tensor]:
        """Returns this rank's part of the average by name, made of the network's weights at the first call."""
        if not self.average:
            own = {name: master(p) for name, p in network.named_parameters() if p.requires_grad}
            self.average = {name: value.detach().clone() for name, value in own.items() if value is not None}
        return self.average

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        parameters = dict(pl_module.bare_student.named_parameters())
        found = self.values(pl_module.bare_student)
        self.average = {name: value.to(local(parameters[name]).device) for name, value in found.items()}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step > self.updates:
            self.update(pl_module.bare_student)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes one step of the average towards the network's parameters, on this rank's part of them."""
        parameters = dict(network.named_parameters())
        weight = 1 - decay(self.updates, self.cap)
        values = [value for name in self.average if (value := master(parameters[name])) is not None]
        move_towards(self.average.values(), values, weight)
        self.updates += 1

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[nn.Module]:
        """Gives a network that is not sharded the averaged parameters, and its own again at the end."""
        parameters = dict(network.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.average}
        try:
            copy_into(parameters, self.average)
            yield network
        finally:
            copy_into(parameters, own)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates = state_dict["updates"]


@torch.no_grad()
def copy_into(parameters: dict[str, Any], values: dict[str, Tensor]) -> None:
    """Copies values into the parameters of the same names."""
    for name, value in values.items():
        parameters[name].copy_(value)
