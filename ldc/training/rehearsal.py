"""One step of a strategy at any world size, in one process: the other ranks are only pretended to be there.

The strategy wraps the networks and calls its collective operations as rank 0 of all, on torch's fake process group,
which answers without communicating. So it shows that wrapping and stepping work at that size; the figures that come out
mean nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from ldc.training import strategies
from ldc.training.fit import FIXED
from ldc.training.module import DistillationModule
from ldc.training.quiet import quiet_lightning


class _Answers(Callback):
    """Gives DDP's reducer the tensor that it waits for, which the fake group leaves out."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            trainer.strategy.model.register_comm_hook(None, _unreduced)


def _unreduced(_state: Any, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


@contextmanager
def pretended(ranks: int) -> Iterator[None]:
    """Makes this process rank 0 of `ranks`, as torchrun would have started it, on a group that does not communicate.

    Raises:
        ValueError: this process is part of a group already.
    """
    if distributed.is_initialized():
        raise ValueError("a rehearsal must have no process group, but this process is part of one.")
    own = {"TORCHELASTIC_RUN_ID": "rehearsal", "RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0}
    own |= {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update({name: str(value) for name, value in own.items()})
    distributed.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    try:
        yield
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def rehearse(
    module: DistillationModule, datamodule: LightningDataModule, *, ranks: int, strategy: str, **options: Any
) -> int:
    """Takes one optimizer step on the CPU as rank 0 of `ranks`; returns the optimizer steps taken.

    DeepSpeed keeps its groups for as long as the process lives, so one process can rehearse it once.

    Args:
        module: its networks are trained in place.
        datamodule: gives the batches of a step.
        ranks: the pretended world size.
        strategy: a name that `fit` takes.
        options: `shard_teacher` and Lightning's precision, accumulate_grad_batches and gradient_clip_val.
    """
    shard_teacher = options.pop("shard_teacher", False)
    precision = options.get("precision", "32-true")
    with pretended(ranks), quiet_lightning():
        built = strategies.build(
            strategy, accelerator="cpu", devices=ranks, precision=precision, shard_teacher=shard_teacher
        )
        trainer = Trainer(
            **FIXED,
            max_steps=1,
            accelerator="cpu",
            devices=ranks,
            strategy=built,
            callbacks=[_Answers()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            **options,
        )
        trainer.fit(module, datamodule=datamodule)
        return trainer.global_step
