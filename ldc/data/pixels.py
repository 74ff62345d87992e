"""Images and captions as training batches, for encoding during training: from raw shards, by index or streamed.

Legend: B batch, S pixel size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ldc.data.batch import ImageTextBatch
from ldc.data.draws import caption_index, check_dropout, is_dropped, is_flipped
from ldc.data.order import StreamOrder
from ldc.data.report import SkipReport
from ldc.data.samples import RawSample, SkippedSampleError
from ldc.data.sharded import ShardedSamples
from ldc.data.streaming import StreamingSamples
from ldc.data.transforms import decode, to_pixels

CHECK_AFTER = 100  # samples; the share of damaged ones says little before


class PixelItem(NamedTuple):
    """What stands at a position of the stream."""

    position: int
    key: str
    pixels: Tensor  # (3, S, S) in [-1, 1]
    caption: str  # "" where dropped


@dataclass(frozen=True)
class PixelReader:
    """Turns a raw sample into what stands at a position, with the draws of `ldc.data.draws`.

    Args:
        size: S, pixels; images are resized and cropped to the centre.
        seed: of the draws.
        caption_dropout: share of samples whose caption becomes "".
        flip: mirror one image in two.
    """

    size: int
    seed: int
    caption_dropout: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        check_dropout(self.caption_dropout)

    def __call__(self, sample: RawSample, position: int) -> PixelItem:
        """Returns the item; a corrupt image is a SkippedSampleError."""
        flip = self.flip and is_flipped(self.seed, position)
        pixels = to_pixels(decode(sample["image"], sample["key"]), self.size, flip=flip)
        caption = sample["captions"][caption_index(self.seed, position, len(sample["captions"]))]
        dropped = is_dropped(self.seed, position, self.caption_dropout)
        return PixelItem(position, sample["key"], pixels, "" if dropped else caption)


class PixelDataset(Dataset[PixelItem]):
    """The endless stream over indexed shards.

    A corrupt image is replaced by the next readable sample of the shards, always the same one; each worker reports its
    own and raises ValueError past the limit of the shards' report.
    """

    def __init__(self, samples: ShardedSamples, reader: PixelReader):
        self.samples = samples
        self.reader = reader
        self.size = len(samples)
        self.order = StreamOrder(self.size, reader.seed)
        self.report = SkipReport(samples.report.limit)

    def __getitem__(self, position: int) -> PixelItem:
        first = self.order(position)
        for number in (*range(first, self.size), *range(first)):
            try:
                item = self.reader(self.samples.sample(number), position)
            except SkippedSampleError as error:
                self.report.skip(error.reason, error.name)
                _check(self.report)
                continue
            self.report.keep()
            return item
        raise ValueError("the shards must hold at least one readable image, but none is.")


class StreamingPixels(IterableDataset[PixelItem]):
    """The endless stream over shards that are read on the fly; corrupt images are left out, and reported by worker."""

    def __init__(self, samples: StreamingSamples, reader: PixelReader):
        self.samples = samples
        self.reader = reader

    def __iter__(self) -> Iterator[PixelItem]:
        for position, sample in self.samples:
            try:
                yield self.reader(sample, position)
            except SkippedSampleError as error:
                self.samples.report.drop(error.reason, error.name)
                _check(self.samples.report)


def collate_pixels(items: list[PixelItem]) -> ImageTextBatch:
    """Returns the batch of some positions, with pixels."""
    return ImageTextBatch(
        pixels=torch.stack([item.pixels for item in items]),  # (B, 3, S, S)
        latents=None,
        captions=[item.caption for item in items],
        positions=torch.tensor([item.position for item in items]),
        keys=[item.key for item in items],
    )


def _check(report: SkipReport) -> None:
    if report.kept + report.skipped >= CHECK_AFTER:
        report.check()
