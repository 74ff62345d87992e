"""Calibration tokens of GPTQ: random windows of one joined text, by the published draw.

Legend: S samples, L tokens.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch

from ldc.data.text.calibration import Calibration, fingerprint

_BETWEEN = "\n\n"


def calibration_windows(
    texts: Sequence[str], tokenizer: Any, num_samples: int = 128, length: int = 2048, seed: int = 0
) -> Calibration:
    """Returns random windows, which may overlap, of all texts joined by blank lines and tokenised as one.

    Published by Shortened LLaMA: 128 windows of 2,048 tokens of the first 5,000 documents of C4, seed 0.

    Args:
        texts: what to draw from.
        tokenizer: of transformers.
        num_samples: S.
        length: L.
        seed: of Python's generator.

    Raises:
        ValueError: a size is below 1, or all texts together have fewer than `length` tokens.
    """
    if num_samples < 1 or length < 1:
        raise ValueError(f"num_samples and length must be at least 1, not {num_samples} and {length}.")
    ids = torch.tensor(tokenizer(_BETWEEN.join(texts), verbose=False)["input_ids"], dtype=torch.int64)
    if len(ids) < length:
        raise ValueError(f"the calibration text must have at least {length} tokens, not {len(ids)}.")
    numbers = random.Random(seed)  # noqa: S311 - the published draw
    starts = [numbers.randint(0, len(ids) - length) for _ in range(num_samples)]
    windows = torch.stack([ids[start : start + length] for start in starts])
    return Calibration(windows, fingerprint(windows))
