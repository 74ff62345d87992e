"""The calibration set of block scores and width pruning: random crops of random texts, by the published draw.

Legend: S samples, L tokens.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Calibration(NamedTuple):
    """Token ids, all of one length, and what tells them apart from others in reports."""

    ids: Tensor  # (S, L) int64
    fingerprint: str  # 16 hex digits, a hash of the ids


def calibration(
    texts: Sequence[str],
    tokenizer: Any,
    num_samples: int = 10,
    length: int = 128,
    seed: int = 1234,
    *,
    add_bos_to_every: bool = False,
) -> Calibration:
    """Returns random crops of random texts, none of which is used twice (Kim et al. 2024, their `get_examples`).

    A text has the special tokens that the tokenizer gives it, so a BOS only stands where a crop starts at 0.

    Args:
        texts: what to draw from; a text of fewer than `length` tokens is drawn again.
        tokenizer: of transformers.
        num_samples: S.
        length: L.
        seed: of Python's generator, as in the published code.
        add_bos_to_every: texts without special tokens, and each crop begins with BOS in place of its last token.

    Raises:
        ValueError: a size is below 1, there are not enough texts of `length` tokens, or there is no BOS to add.
    """
    if add_bos_to_every and tokenizer.bos_token_id is None:
        raise ValueError("the tokenizer must have a BOS token when add_bos_to_every is true, but it has none.")

    def row(number: int) -> list[int]:
        # verbose: a text longer than the model's context is cropped, so that warning says nothing
        return tokenizer(texts[number], add_special_tokens=not add_bos_to_every, verbose=False)["input_ids"]

    ids = draw_crops(row, len(texts), num_samples, length, seed)
    if add_bos_to_every:
        bos = torch.full((num_samples, 1), tokenizer.bos_token_id)
        ids = torch.cat([bos, ids[:, :-1]], dim=1)
    return Calibration(ids, fingerprint(ids))


def draw_crops(
    row: Callable[[int], Sequence[int]], num_rows: int, num_samples: int, length: int, seed: int = 1234
) -> Tensor:
    """Returns (S, L) int64 crops: rows by `random.randint` until one is long enough and unused, then a start.

    Args:
        row: the ids of the row of this number.
        num_rows: how many there are.

    Raises:
        ValueError: a size is below 1, or fewer than `num_samples` rows have `length` ids.
    """
    if num_samples < 1 or length < 1:
        raise ValueError(f"num_samples and length must be at least 1, not {num_samples} and {length}.")
    if num_rows < num_samples:
        raise ValueError(
            f"num_samples must be at most {num_rows}, the calibration text's documents, not {num_samples}."
        )
    # a generator of our own draws what the module does after `random.seed(seed)`
    numbers = random.Random(seed)  # noqa: S311 - the published draw
    short: set[int] = set()
    used: set[int] = set()
    crops = []
    while len(crops) < num_samples:
        if len(short) + len(used) == num_rows:
            raise ValueError(
                f"num_samples must be at most {len(used)}, the documents with {length} tokens or more of the "
                f"calibration text's {num_rows}, not {num_samples}."
            )
        number = numbers.randint(0, num_rows - 1)
        if number in used or number in short:
            continue
        ids = row(number)
        if len(ids) < length:
            short.add(number)
            continue
        used.add(number)
        start = numbers.randint(0, len(ids) - length)
        crops.append(list(ids[start : start + length]))
    return torch.tensor(crops, dtype=torch.int64)


def fingerprint(ids: Tensor) -> str:
    """Returns 16 hex digits for token ids and their shape."""
    content = f"{tuple(ids.shape)}".encode() + ids.to(torch.int64).contiguous().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
