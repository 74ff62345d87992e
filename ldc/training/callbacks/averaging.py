"""A moving average of the student's weights for publishing; the target of consistency distillation is another thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from ldc.training.networks import move_towards


def decay(update: int, cap: float = 0.9999) -> float:
    """Returns the share that update k = 0, 1, ... keeps of the average: 0, then min(cap, (1 + k) / (10 + k)).

    The first update copies the weights (diffusers' EMAModel, as BK-SDM used it).
    """
    return min(cap, (1 + update) / (10 + update)) if update > 0 else 0.0


class WeightAverage(Callback):
    """Averages the student's parameters after each optimizer step: average <- d average + (1 - d) weights.

    The average and its count are saved in the checkpoint. Buffers and frozen weights (LoRA's base) are not averaged.

    Raises:
        ValueError: a fit that resumes finds no average in its checkpoint.
    """

    def __init__(self, cap: float = 0.9999):
        self.cap = cap
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        parameters = dict(pl_module.bare_student.named_parameters())
        if not self.average:
            if trainer.global_step > 0:
                raise ValueError("the checkpoint must hold the average of the weights, but it has none.")
            trained = {name: value for name, value in parameters.items() if value.requires_grad}
            self.average = {name: value.detach().clone() for name, value in trained.items()}
        self.average = {name: value.to(parameters[name].device) for name, value in self.average.items()}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step > self.updates:
            self.update(pl_module.bare_student)

    def update(self, network: nn.Module) -> None:
        """Takes one step of the average towards the network's parameters."""
        parameters = dict(network.named_parameters())
        weight = 1 - decay(self.updates, self.cap)
        move_towards(self.average.values(), [parameters[name] for name in self.average], weight)
        self.updates += 1

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[nn.Module]:
        """Gives the network the averaged parameters, and its own again at the end."""
        parameters = dict(network.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.average}
        try:
            copy_into(parameters, self.average)
            yield network
        finally:
            copy_into(parameters, own)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self.average = state_dict["updates"], dict(state_dict["average"])


@torch.no_grad()
def copy_into(parameters: dict[str, Any], values: dict[str, Tensor]) -> None:
    """Copies values into the parameters of the same names."""
    for name, value in values.items():
        parameters[name].copy_(value)
