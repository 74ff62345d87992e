"""Instructions as training batches: the split, the order of the endless stream, and padding on the left.

Legend: B batch, L tokens of the longest of a batch, rounded up.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ldc.data.order import StreamOrder
from ldc.data.text.batch import NO_LOSS, TokenBatch
from ldc.data.text.instructions import InstructionTokens

MULTIPLE = 8  # batches are as long as a multiple of this


def split_instructions(size: int, num_held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """Returns (numbers to train on, held-out numbers), as `train_test_split` of Hugging Face's datasets draws them.

    Of a small file no more than a tenth is held out.
    """
    order = np.random.default_rng(seed).permutation(size).tolist()
    held_out = min(num_held_out, size // 10)
    return order[held_out:], order[:held_out]


class InstructionStream(Dataset[tuple[int, int]]):
    """The endless stream over instructions.

    Args:
        tokens: of the instructions.
        pad: the id that fills up.
        seed: of the order.
        name: of the split, for keys.
    """

    def __init__(self, tokens: InstructionTokens, pad: int, seed: int = 0, name: str = "train"):
        self.tokens = tokens
        self.size = len(tokens)
        self.pad = pad
        self.name = name
        self.order = StreamOrder(self.size, seed)

    def __getitem__(self, position: int) -> tuple[int, int]:  # pyrefly: ignore  a position, not an index
        """Returns the position and the number of the instruction that stands there."""
        return position, self.order(position)

    def collate(self, samples: Sequence[tuple[int, int]]) -> TokenBatch:
        """Returns the batch of what `__getitem__` gave."""
        rows = [self.tokens[number] for _, number in samples]
        length = -(-max(len(ids) for ids, _ in rows) // MULTIPLE) * MULTIPLE
        ids = torch.full((len(rows), length), self.pad)  # (B, L)
        labels, mask = torch.full_like(ids, NO_LOSS), torch.zeros_like(ids)
        for row, (own, own_labels) in enumerate(rows):
            ids[row, length - len(own) :] = torch.from_numpy(own)
            labels[row, length - len(own) :] = torch.from_numpy(own_labels)
            mask[row, length - len(own) :] = 1
        keys = [f"{self.name} instruction {number}" for _, number in samples]
        return TokenBatch(ids, labels, mask, torch.tensor([position for position, _ in samples]), keys)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[TokenBatch]:
        """Yields the instructions one after the other, the first `limit` of them; the last batch may be smaller."""
        numbers = list(range(self.size if limit is None else min(limit, self.size)))
        for start in range(0, len(numbers), batch_size):
            yield self.collate([(number, number) for number in numbers[start : start + batch_size]])


def padding_id(tokenizer: Any) -> int:
    """Returns the id that fills up: the tokenizer's padding, else its unknown token, else EOS.

    Raises:
        ValueError: it has none of them.
    """
    for name in ("pad_token_id", "unk_token_id", "eos_token_id"):
        if (found := getattr(tokenizer, name)) is not None:
            return int(found)
    raise ValueError("the tokenizer must have a padding, unknown or EOS token to fill up with, but it has none.")
