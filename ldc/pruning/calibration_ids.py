"""What calibration tokens must be.

Legend: S sequences, L tokens.
"""

import torch
from torch import Tensor


def check_ids(ids: Tensor, vocabulary: int) -> None:
    """Raises ValueError for calibration tokens from which nothing can be predicted."""
    if ids.ndim != 2 or ids.dtype != torch.int64 or ids.shape[0] < 1 or ids.shape[1] < 2:  # noqa: PLR2004 - (S, L), L >= 2
        raise ValueError(
            f"calibration must hold one sequence of two int64 tokens at least, not {tuple(ids.shape)} of {ids.dtype}."
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(
            f"calibration tokens must be in [0, {vocabulary}), the model's vocabulary, not in "
            f"[{ids.min()}, {ids.max()}]: they were made by another tokenizer."
        )
