"""The endless stream of captions with a reference encoder's states, as a LightningDataModule."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from ldc.data.captions import CaptionStatesDataset
from ldc.data.module import StreamDataModule


class CaptionStatesDataModule(StreamDataModule):
    """Batches of `CaptionStatesBatch`. The reference runs once over all texts, when the data are first used.

    Args:
        texts: captions.
        tokenizer: the student's.
        reference: folder of the reference encoder.
        num_words: words of a text that have a row.
        num_held_out: texts kept out of training.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Any,
        reference: Path | str,
        batch_size: int,
        seed: int,
        *,
        num_words: int = 12,
        num_held_out: int = 0,
        num_workers: int = 0,
    ):
        super().__init__(batch_size, seed, num_workers)
        self.texts = list(texts)
        self.tokenizer = tokenizer
        self.reference = reference
        self.num_words = num_words
        self.num_held_out = num_held_out

    @cached_property
    def dataset(self) -> CaptionStatesDataset:
        """The texts with their targets; made on first use."""
        return CaptionStatesDataset(
            self.texts,
            self.tokenizer,
            self.reference,
            num_words=self.num_words,
            seed=self.seed,
            num_held_out=self.num_held_out,
        )

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(self.dataset, self.dataset.collate, consumed, finished, num_batches)
