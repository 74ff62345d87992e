"""What the text data modules yield and the language objectives take.

Legend: B batch, L tokens.
"""

from typing import NamedTuple

from torch import Tensor

NO_LOSS = -100  # the label of a token that the loss passes over, as in transformers


class TokenBatch(NamedTuple):
    """Token ids with the labels that stand at the same places: the model's loss does the shift."""

    ids: Tensor  # (B, L) int64
    labels: Tensor  # (B, L) int64; NO_LOSS where no loss is taken
    mask: Tensor  # (B, L) int64 attention mask: 0 on padding
    positions: Tensor  # (B,) int64 place in the endless stream: see ldc.randomness
    keys: list[str]  # B names, for messages
