"""Images and captions as training batches: the endless stream over raw shards, for encoding during training.

Legend: B batch, S pixel size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ldc.data.batch import ImageTextBatch
from ldc.data.draws import caption_index, check_dropout, is_dropped, is_flipped
from ldc.data.order import StreamOrder
from ldc.data.report import SkipReport
from ldc.data.samples import SkippedSampleError
from ldc.data.sharded import ShardedSamples
from ldc.data.transforms import decode, to_pixels

CHECK_AFTER = 100  # samples; the share of damaged ones says little before


class PixelItem(NamedTuple):
    """What stands at a position of the stream."""

    position: int
    key: str
    pixels: Tensor  # (3, S, S) in [-1, 1]
    caption: str  # "" where dropped


class PixelDataset(Dataset[PixelItem]):
    """The endless stream over images and captions, with the draws of LatentDataset.

    A corrupt image is replaced by the next readable sample of the shards, always the same one; each worker reports its
    own and raises ValueError past the report's limit.

    Args:
        samples: the shards.
        size: S, pixels.
        seed: of the order and of all draws.
        caption_dropout: share of samples whose caption becomes "".
        flip: mirror one image in two.
    """

    def __init__(
        self, samples: ShardedSamples, size: int, seed: int, caption_dropout: float = 0.0, *, flip: bool = False
    ):
        self.samples = samples
        self.size = len(samples)
        self.pixel_size = size
        self.seed = seed
        self.caption_dropout = check_dropout(caption_dropout)
        self.flip = flip
        self.order = StreamOrder(self.size, seed)
        self.report = SkipReport(samples.report.limit)

    def __getitem__(self, position: int) -> PixelItem:
        flip = self.flip and is_flipped(self.seed, position)
        first = self.order(position)
        for number in (*range(first, self.size), *range(first)):
            sample = self.samples.sample(number)
            try:
                pixels = to_pixels(decode(sample["image"], sample["key"]), self.pixel_size, flip=flip)
            except SkippedSampleError as error:
                self._skip(error)
                continue
            self.report.keep()
            captions = sample["captions"]
            caption = captions[caption_index(self.seed, position, len(captions))]
            dropped = is_dropped(self.seed, position, self.caption_dropout)
            return PixelItem(position, sample["key"], pixels, "" if dropped else caption)
        raise ValueError("the shards must hold at least one readable image, but none is.")

    def _skip(self, error: SkippedSampleError) -> None:
        self.report.skip(error.reason, error.name)
        if self.report.kept + self.report.skipped >= CHECK_AFTER:
            self.report.check()

    def collate(self, items: list[PixelItem]) -> ImageTextBatch:
        """Returns the batch of some positions, with pixels."""
        return ImageTextBatch(
            pixels=torch.stack([item.pixels for item in items]),  # (B, 3, S, S)
            latents=None,
            captions=[item.caption for item in items],
            positions=torch.tensor([item.position for item in items]),
            keys=[item.key for item in items],
        )
