"""LightningDataModules over the endless stream: cached latents, or image-text pairs for an online encoder.

The loader is sized for the whole fit and starts at the samples consumed so far, which are derived from the trainer's
progress when a checkpoint is saved: what workers have read ahead does not count.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from ldc.data.encoded import Encoded
from ldc.data.filters import Filters
from ldc.data.latents import LatentDataset
from ldc.data.order import StreamBatchSampler
from ldc.data.pixels import PixelDataset
from ldc.data.sharded import ShardedSamples

log = logging.getLogger(__name__)


class StreamDataset(Protocol):
    """A map from positions of the stream to samples, and from samples to a batch."""

    size: int  # samples in the data, not in the stream

    def __getitem__(self, position: int) -> Any: ...

    def collate(self, samples: list[Any]) -> Any: ...


class StreamLoader(DataLoader):
    """A DataLoader that tells Lightning that a resume is exact; the position itself is the data module's state."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class StreamDataModule(LightningDataModule):
    """The training loader over an endless stream of positions; subclasses say what stands there.

    The number of batches comes from the trainer: `max_steps` x `accumulate_grad_batches`. The trainer must leave the
    sampler alone (`use_distributed_sampler=False`), as each rank already reads its own positions.

    Args:
        batch_size: samples in one rank's batch.
        seed: of the order and of all the reader's draws.
        num_workers: loader processes; 0 reads in the training process.
    """

    def __init__(self, batch_size: int, seed: int, num_workers: int = 0):
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._consumed = 0  # samples of the stream taken by all ranks when `_since` was read
        self._since: int | None = 0  # the trainer's processed batches at that point; None: not restored yet
        self._dataset: StreamDataset | None = None

    def build(self) -> StreamDataset:
        """Returns the data set; called once, in each rank."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (Lightning's signature)
        if self._dataset is None:
            self._dataset = self.build()

    @property
    def consumed(self) -> int:
        """Samples of the stream that training has used, over all ranks."""
        if self._since is None or self.trainer is None:
            return self._consumed
        return self._consumed + (self._processed() - self._since) * self.batch_size * self.trainer.world_size

    def train_dataloader(self) -> DataLoader:
        self.setup()
        trainer = self.trainer
        _check(trainer)
        # Lightning asks after it has restored its loops: from here on, its progress is counted from this point.
        self._consumed, self._since = self.consumed, self._processed()
        finished = trainer.fit_loop.epoch_loop.batch_progress.current.processed
        if finished % trainer.accumulate_grad_batches:
            log.warning("Resuming inside an accumulation window: the first step sees fewer samples.")
        sampler = StreamBatchSampler(
            n=self._dataset.size,
            batch_size=self.batch_size,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            seed=self.seed,
            consumed=self._consumed,
            num_batches=finished + (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches,
            finished=finished,
        )
        log.info("Reading %d samples, from position %d of the stream.", self._dataset.size, self._consumed)
        return StreamLoader(self._dataset, batch_sampler=sampler, collate_fn=self._dataset.collate, **self._workers())

    def state_dict(self) -> dict[str, Any]:
        return {"consumed": self.consumed, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["seed"] != self.seed:
            raise ValueError(f"seed must be {state['seed']}, as in the checkpoint, not {self.seed}.")
        self._consumed, self._since = state["consumed"], None

    def _processed(self) -> int:
        # Not `ready` or `completed`: a checkpoint is mostly saved between a batch's processing and its completion.
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed

    def _workers(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }


def _check(trainer: Any) -> None:
    if trainer.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1 with an endless stream, not {trainer.max_steps}.")
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:  # noqa: SLF001 (no public name)
        raise ValueError("use_distributed_sampler must be False: each rank already reads its own positions.")


class LatentDataModule(StreamDataModule):
    """Batches of cached latents: LatentBatch, or ImageTextBatch with latents where the cache holds no text.

    Args:
        folder: what `encode_shards` made.
        caption_dropout: share of samples whose caption is replaced by the empty one.
    """

    def __init__(
        self,
        folder: Path | str,
        batch_size: int,
        seed: int,
        *,
        caption_dropout: float = 0.0,
        num_workers: int = 0,
        memory_limit_mb: int = 512,
    ):
        super().__init__(batch_size, seed, num_workers)
        self.folder = Path(folder)
        self.caption_dropout = caption_dropout
        self.memory_limit_mb = memory_limit_mb

    def build(self) -> LatentDataset:
        return LatentDataset(
            Encoded(self.folder), self.seed, self.caption_dropout, memory_limit_mb=self.memory_limit_mb
        )


class ImageTextDataModule(StreamDataModule):
    """Batches of pixels and captions, ImageTextBatch, for encoding during training.

    Args:
        tars: shards of images and captions, local files.
        size: pixels; images are resized and cropped to the centre.
        filters: which samples to leave out by their metadata.
        flip: mirror one image in two.
    """

    def __init__(
        self,
        tars: Sequence[Path | str],
        batch_size: int,
        seed: int,
        *,
        size: int,
        filters: Filters | None = None,
        flip: bool = False,
        caption_dropout: float = 0.0,
        num_workers: int = 0,
    ):
        super().__init__(batch_size, seed, num_workers)
        self.tars = list(tars)
        self.size = size
        self.filters = filters
        self.flip = flip
        self.caption_dropout = caption_dropout

    def build(self) -> PixelDataset:
        samples = ShardedSamples(self.tars, filters=self.filters)
        return PixelDataset(samples, self.size, self.seed, self.caption_dropout, flip=self.flip)
