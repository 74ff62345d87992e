"""LightningDataModules over the endless stream: cached latents, or image-text pairs for an online encoder.

The loader is sized for the whole fit and starts at the samples consumed so far, which are derived from the trainer's
progress when a checkpoint is saved: what workers have read ahead does not count.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset

from ldc.data.encoded import Encoded
from ldc.data.filters import Filters
from ldc.data.latents import LatentDataset
from ldc.data.order import StreamBatchSampler
from ldc.data.pixels import PixelDataset, PixelReader, StreamingPixels, collate_pixels
from ldc.data.report import SkipReport
from ldc.data.sharded import ShardedSamples
from ldc.data.streaming import StreamingSamples
from ldc.data.workers import leave_interrupts, plain_errors

log = logging.getLogger(__name__)


class SizedLoader:
    """A loader with the length of the whole fit, of which it yields what is left.

    Not a DataLoader, so that Lightning neither puts another sampler into it nor doubts its length. Lightning takes a
    loader with a state for one that resumes exactly; the position itself is the data module's state.
    """

    def __init__(self, loader: DataLoader, num_batches: int):
        self.loader = loader
        self.num_batches = num_batches

    def __iter__(self) -> Iterator[Any]:
        return plain_errors(iter(self.loader))

    def __len__(self) -> int:
        return self.num_batches

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class StreamDataModule(LightningDataModule):
    """The training loader over an endless stream of positions; subclasses say what stands there.

    The length comes from the trainer: `max_steps` x `accumulate_grad_batches` batches.

    Args:
        batch_size: samples in one rank's batch.
        seed: of the order and of all the reader's draws.
        num_workers: loader processes; 0 reads in the training process.
    """

    def __init__(self, batch_size: int, seed: int, num_workers: int = 0):
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size must be positive and num_workers not negative, not {batch_size}, {num_workers}."
            )
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._consumed = 0  # samples of the stream taken by all ranks when `_since` was read
        self._since: int | None = 0  # the trainer's processed batches at that point; None: not restored yet

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        """Returns the loader of this rank's batches `finished` ... `num_batches` - 1, from sample `consumed` on."""
        raise NotImplementedError

    @property
    def consumed(self) -> int:
        """Samples of the stream that training has used, over all ranks."""
        if self._since is None or self.trainer is None:
            return self._consumed
        return self._consumed + (self._processed() - self._since) * self.batch_size * self.trainer.world_size

    def train_dataloader(self) -> SizedLoader:
        trainer = self._attached()
        if trainer.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1 with an endless stream, not {trainer.max_steps}.")
        # Lightning asks after it has restored its loops: from here on, its progress is counted from this point.
        self._consumed, self._since = self.consumed, self._processed()
        finished = self._progress().current.processed
        if finished % trainer.accumulate_grad_batches:
            log.warning("Resuming inside an accumulation window: the first step sees fewer samples.")
        num_batches = finished + (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
        log.info("Reading from position %d of the stream.", self._consumed)
        return SizedLoader(self.loader(self._consumed, finished, num_batches), num_batches)

    def state_dict(self) -> dict[str, Any]:
        return {"consumed": self.consumed, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["seed"] != self.seed:
            raise ValueError(f"seed must be {state['seed']}, as in the checkpoint, not {self.seed}.")
        self._consumed, self._since = state["consumed"], None

    def _attached(self) -> Trainer:
        if self.trainer is None:
            raise ValueError("trainer must be attached to the data module before it is asked for a loader, not None.")
        return self.trainer

    def _progress(self) -> Any:
        return self._attached().fit_loop.epoch_loop.batch_progress

    def _processed(self) -> int:
        # Not `ready` or `completed`: a checkpoint is mostly saved between a batch's processing and its completion.
        return self._progress().total.processed

    def _sampled(self, data: Any, collate: Callable, consumed: int, finished: int, num_batches: int) -> DataLoader:
        trainer = self._attached()
        sampler = StreamBatchSampler(
            data.size,
            self.batch_size,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            seed=self.seed,
            consumed=consumed,
            num_batches=num_batches,
            finished=finished,
        )
        return self._workers(data, batch_sampler=sampler, collate_fn=collate)

    def _workers(self, data: Dataset, **options: Any) -> DataLoader:
        pin_memory = torch.cuda.is_available()
        return DataLoader(
            data, num_workers=self.num_workers, pin_memory=pin_memory, worker_init_fn=leave_interrupts, **options
        )


class LatentDataModule(StreamDataModule):
    """Batches of cached latents: LatentBatch, or ImageTextBatch with latents where the cache holds no text.

    Args:
        folder: what `encode_shards` made.
        caption_dropout: share of samples whose caption is replaced by the empty one.
        memory_limit_mb: a cache up to this size is read into memory.
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

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        encoded = Encoded(self.folder)
        data = LatentDataset(encoded, self.seed, self.caption_dropout, memory_limit_mb=self.memory_limit_mb)
        return self._sampled(data, data.collate, consumed, finished, num_batches)


class ImageTextDataModule(StreamDataModule):
    """Batches of pixels and captions, ImageTextBatch, from indexed shards, for encoding during training.

    Args:
        tars: shards of images and captions, local files.
        size: pixels; images are resized and cropped to the centre.
        filters: which samples to leave out by their metadata.
        exclude: keys of samples to leave out, such as those of images known to be corrupt.
        flip: mirror one image in two.
        caption_dropout: share of samples whose caption becomes "".
        max_skipped: largest allowed share of damaged samples, 0 to 1.
        cache: where indexes of read-only tars are saved.
    """

    def __init__(
        self,
        tars: Sequence[Path | str],
        batch_size: int,
        seed: int,
        *,
        size: int,
        filters: Filters | None = None,
        exclude: Collection[str] = (),
        flip: bool = False,
        caption_dropout: float = 0.0,
        num_workers: int = 0,
        max_skipped: float = 0.1,
        cache: Path | None = None,
    ):
        super().__init__(batch_size, seed, num_workers)
        self.tars = list(tars)
        self.filters = filters
        self.exclude = exclude
        self.max_skipped = max_skipped
        self.cache = cache
        self.reader = PixelReader(size, seed, caption_dropout, flip)

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        report = SkipReport(self.max_skipped)
        samples = ShardedSamples(self.tars, self.filters, exclude=self.exclude, report=report, cache=self.cache)
        data = PixelDataset(samples, self.reader)
        return self._sampled(data, collate_pixels, consumed, finished, num_batches)


class StreamingDataModule(StreamDataModule):
    """Batches of pixels and captions, ImageTextBatch, streamed from `pipe:` commands and URLs.

    It resumes at the start of a shard: see `ldc.data.streaming`.

    Args:
        urls: shards.
        size: pixels; images are resized and cropped to the centre.
        flip: mirror one image in two.
        caption_dropout: share of samples whose caption becomes "".
        streaming: further arguments of StreamingSamples: samples_per_shard, filters, shuffle_buffer, max_skipped.
    """

    def __init__(
        self,
        urls: Sequence[str],
        batch_size: int,
        seed: int,
        *,
        size: int,
        flip: bool = False,
        caption_dropout: float = 0.0,
        num_workers: int = 0,
        **streaming: Any,
    ):
        super().__init__(batch_size, seed, num_workers)
        self.urls = list(urls)
        self.streaming = streaming
        self.reader = PixelReader(size, seed, caption_dropout, flip)

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:  # noqa: ARG002 (trainer ends it)
        samples = StreamingSamples(self.urls, self.seed, consumed=consumed, **self.streaming)
        data = StreamingPixels(samples, self.reader)
        return self._workers(data, batch_size=self.batch_size, collate_fn=collate_pixels, drop_last=True)
