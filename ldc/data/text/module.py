"""LightningDataModules of text over the endless stream: windows of packed tokens, and instructions with answers."""

from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import DataLoader

from ldc.data.module import StreamDataModule
from ldc.data.text.batch import TokenBatch
from ldc.data.text.tokens import PackedTokens
from ldc.data.text.windows import TokenWindows


class TokenDataModule(StreamDataModule):
    """Batches of windows of packed text, TokenBatch.

    Args:
        folder: what `encode_texts` made.
        batch_size: windows in one rank's batch.
        seed: of the order.
        length: tokens of a window.
        num_workers: loader processes.
    """

    def __init__(self, folder: Path | str, batch_size: int, seed: int, *, length: int, num_workers: int = 0):
        super().__init__(batch_size, seed, num_workers)
        self.packed = PackedTokens(folder)
        self.length = length
        self.windows = TokenWindows(self.packed.stream("train"), length, seed)

    @property
    def size(self) -> int:
        """Windows to train on."""
        return self.windows.size

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(self.windows, self.windows.collate, consumed, finished, num_batches)

    def held_out(
        self, batch_size: int | None = None, limit: int | None = None, part: str | None = None
    ) -> Iterator[TokenBatch]:
        """Yields the held-out windows in order; their positions are their numbers.

        Args:
            batch_size: windows in a batch, by default the training's.
            limit: windows in all, at equal distances over the text.
            part: of this part of the text alone, such as kjv.

        Raises:
            ValueError: nothing is held out, or less than a window.
        """
        windows = TokenWindows(self.packed.stream("held_out", part), self.length, name="held-out")
        return windows.in_order(batch_size or self.batch_size, limit)
