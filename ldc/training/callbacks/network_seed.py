"""Makes what networks draw for themselves (dropout) a pure function of the stream's position, too.

No checkpoint holds the state of torch's generators, one for each device of each rank. Seeding them anew for every
micro-batch makes a resumed fit draw what the straight one draws, and gives each rank numbers of its own.
"""

from typing import Any

import torch
from lightning.pytorch import Callback

from ldc import randomness


class NetworkSeed(Callback):
    """Seeds torch's generators for each micro-batch, from its first position: the host knows it, nothing waits."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        seed = getattr(trainer.datamodule, "seed", 0)
        (number,) = randomness.integers(seed, "network", batch.positions[:1], 2**62).tolist()
        torch.manual_seed(number)
