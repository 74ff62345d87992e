"""A data module's loader outside of a fit, for measuring it and for looking at its batches."""

from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from ldc.data.module import StreamDataModule
from ldc.training.quiet import quiet_lightning


def first_batches(data: StreamDataModule, num_batches: int, consumed: int = 0) -> DataLoader[Any]:
    """Returns the loader that a fit of one process has after `consumed` samples, of `num_batches` batches."""
    with quiet_lightning():
        data.trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=num_batches,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    return data.loader(consumed, 0, num_batches)
