"""Keeps the weights with the lowest held-out loss for publishing (Shortened LLaMA's best checkpoint)."""

import math
from typing import Any

import torch
from torch import nn

from ldc.training.callbacks.averaging import WeightAverage
from ldc.training.strategies.parts import master


class BestWeights(WeightAverage):
    """A copy of the trained weights at the step with the lowest loss that was offered; the earlier one on ties.

    A checkpoint holds it where it would hold an average, divided among ranks as the weights are, so that a resumed fit
    publishes what the straight one does.

    Attributes:
        loss: the lowest one; inf before any.
        step: the optimizer step it was measured after.
    """

    kind = "best"

    def __init__(self) -> None:
        super().__init__()
        self.loss = math.inf
        self.step = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Does nothing: `offer` moves the copy."""

    @torch.no_grad()
    def offer(self, loss: float, step: int, network: nn.Module) -> None:
        """Takes the network's trained weights if the loss is lower than any before; all ranks must give the same."""
        if not loss < self.loss:
            return
        self.loss, self.step = loss, step
        parameters = dict(network.named_parameters())
        for name, held in self.values(network).items():
            value = master(parameters[name])
            if value is not None:
                held.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss, self.step = state_dict["loss"], state_dict["step"]
