"""FSDP2: weights, gradients, moments, target and average are divided among all ranks, block by block.

The weights stay in float32 and are cast by autocast, as under DDP, so that both train alike.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from ldc.families.taps import Tapped
from ldc.training.strategies.blocks import blocks
from ldc.training.strategies.sharded import Sharded

log = logging.getLogger(__name__)


class Fsdp2(Sharded, ModelParallelStrategy):
    """Shards a DistillationModule's networks over all ranks; on one rank it only changes the form of the checkpoint.

    Args:
        backend: "nccl" on GPUs, "gloo" on CPUs.
        timeout: how long a rank waits for the others.
        shard_teacher: shard the frozen teacher too.
    """

    kind = "fsdp2"

    def __init__(self, backend: str, timeout: timedelta, *, shard_teacher: bool = False):
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, process_group_backend=backend, timeout=timeout)
        self.shard_teacher = shard_teacher

    def _setup_distributed(self) -> None:
        super()._setup_distributed()
        self._data_parallel_size = self.world_size  # known only here, whoever starts the processes

    def prepare(self, module: Any) -> None:
        """Shards the networks; Lightning calls it through `configure_model`, before the optimizer is made."""
        self.shard(module.bare_student)
        frozen = [module.target]
        if self.shard_teacher and module.teacher is None:
            log.warning("shard_teacher has no effect: this fit has no teacher.")
        elif self.shard_teacher:
            frozen.append(untapped(module.teacher))
        for network in frozen:
            if network is not None:
                self.shard(network, frozen=True)

    def shard(self, network: Any, *, frozen: bool = False) -> None:
        """Shards one network in place, its blocks first.

        A root stays gathered for the backward pass to come, and is divided again in it; a frozen one sees none.
        """
        if not all(p.is_contiguous() for p in network.parameters()):
            log.warning("channels_last does not hold for the weights under fsdp2, which takes contiguous ones only.")
            network.to(memory_format=torch.contiguous_format)
        mesh = self.device_mesh["data_parallel"]
        for block in blocks(network):
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh, reshard_after_forward=True if frozen else None)

    def state_of(self, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        for key, value in self.base_optimizer().state[parameter].items():
            yield key, value.to_local() if value.dim() else value


def untapped(network: Any) -> Any:
    """Returns the network inside taps."""
    return network.module if isinstance(network, Tapped) else network
