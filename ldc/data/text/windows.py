"""Packed tokens as training batches: windows of equal length, without overlap, in the order of the endless stream.

Legend: B batch, L tokens of a window.
"""

from collections.abc import Iterator

import torch
from torch.utils.data import Dataset

from ldc.data.order import StreamOrder
from ldc.data.text.batch import TokenBatch
from ldc.data.text.tokens import TokenStream


class TokenWindows(Dataset[tuple[int, int]]):
    """The endless stream over the windows of some tokens; the tail that fills no window is left out.

    Args:
        tokens: one split of a packed text.
        length: L.
        seed: of the order.
        name: of the split, for keys.

    Raises:
        ValueError: the tokens do not fill one window.
    """

    def __init__(self, tokens: TokenStream, length: int, seed: int = 0, name: str = "train"):
        if length < 2:  # noqa: PLR2004 - one token to predict, one to predict it from
            raise ValueError(f"length must be at least 2 tokens, not {length}.")
        self.size = len(tokens) // length
        if not self.size:
            raise ValueError(f"the {name} text must have at least {length} tokens, one window, not {len(tokens)}.")
        self.tokens = tokens
        self.length = length
        self.name = name
        self.order = StreamOrder(self.size, seed)

    def __getitem__(self, position: int) -> tuple[int, int]:  # pyrefly: ignore  a position, not an index
        """Returns the position and the number of the window that stands there."""
        return position, self.order(position)

    def collate(self, samples: list[tuple[int, int]]) -> TokenBatch:
        """Returns the batch of what `__getitem__` gave: every token is a label."""
        ids = torch.stack([self._window(number) for _, number in samples])  # (B, L)
        positions = torch.tensor([position for position, _ in samples])
        keys = [f"{self.name} window {number}" for _, number in samples]
        return TokenBatch(ids, ids.clone(), torch.ones_like(ids), positions, keys)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[TokenBatch]:
        """Yields the windows in order, `limit` of them at equal distances; the last batch may be smaller."""
        count = self.size if limit is None else min(limit, self.size)
        numbers = [place * self.size // count for place in range(count)]
        for start in range(0, len(numbers), batch_size):
            yield self.collate([(number, number) for number in numbers[start : start + batch_size]])

    def _window(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self.tokens.read(number * self.length, self.length))  # (L,)
