"""Makes a step's gradient a mean over what its samples hold, such as labels, instead of a mean of micro-batches' means.

Texts have unequal numbers of labels. A micro-batch's loss is the mean over its own, so the module multiplies it by
their number n_m; accumulation and ranks then give sum_m n_m g_m / (A R), which is multiplied here by A R / sum_m n_m.
The gradient is that of the mean over all labels of the step's batch, however it is divided.

Legend: A micro-batches of a step on a rank, R ranks, g_m the gradient of micro-batch m's mean.
"""

from typing import Any

import torch
from lightning.pytorch import Callback
from torch.optim import Optimizer

from ldc.training.callbacks.finite import own_gradients
from ldc.training.strategies.micro_batches import is_accumulating


class WeightedMean(Callback):
    """Rescales the gradients of objectives that have a `weight`, before they are checked and clipped.

    Raises:
        ValueError: a step's samples weigh nothing, as texts without a label. Where only a GPU knows, the gradients
            become NaN, and the finite check names the samples.
    """

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        if is_accumulating(trainer):
            return
        weights, pl_module.weights = pl_module.weights, []
        if not weights:
            return
        total = torch.stack(weights).sum().float()
        if trainer.world_size > 1:
            torch.distributed.all_reduce(total)
        if total.device.type == "cpu" and not total:
            step = trainer.global_step + 1
            raise ValueError(f"batch must have at least one label that counts, but all of step {step} are left out.")
        gradients = own_gradients(trainer.strategy, optimizer)
        if gradients:
            torch._foreach_mul_(gradients, trainer.world_size * len(weights) / total)
