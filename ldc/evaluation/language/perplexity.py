"""Perplexity of a causal language model on held-out text, by the windowing of Shortened LLaMA.

Documents are joined by blank lines and are one text. Windows of 128 tokens do not overlap, the tail is dropped:

    perplexity = exp(mean over all targets of -log p(x_l | x_<l of its window)).

Two conventions of the begin-of-sequence token (BOS), as published (Kim et al. 2024, `ppl.csv` and `ppl_bos.csv`): one
BOS before the whole text, so that a window has 127 targets; or one before each window, so that all 128 are targets.

Legend: W windows, L tokens of a window's input, B windows of a batch, V vocabulary.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ldc.data.text.calibration import fingerprint

FIRST, EVERY = "first", "every"
BOS = (FIRST, EVERY)
WINDOW, BATCH_SIZE = 128, 4
_LEAST = 2  # tokens of a window: one that is read and one that is predicted

log = logging.getLogger(__name__)


class Perplexity(NamedTuple):
    """A perplexity with what it was measured on; it is JSON by `_asdict`."""

    value: float
    bos: str  # "first" or "every"
    window: int  # tokens of text in a window
    windows: int
    targets: int
    ids: str  # 16 hex digits of the token ids that were read


def text_windows(
    texts: Sequence[str], tokenizer: Any, *, bos: str = FIRST, window: int = WINDOW, most: int | None = None
) -> Tensor:
    """Returns the windows of the documents, (W, window) int64, or (W, window + 1) with a BOS before each.

    Args:
        texts: documents, joined by blank lines.
        tokenizer: of transformers.
        bos: "first" or "every". A tokenizer without a BOS can do "first", which is then plain text, and says so.
        window: tokens of text in a window.
        most: windows that are kept, at equal distances over the whole text; None: all.

    Raises:
        ValueError: a setting is not one of these, the tokenizer has no BOS for "every", or the text fills no window.
    """
    if bos not in BOS:
        raise ValueError(f"bos must be {' or '.join(BOS)}, not {bos!r}.")
    if window < _LEAST or (most is not None and most < 1):
        raise ValueError(f"window must be at least {_LEAST} tokens and windows at least 1, not {window} and {most}.")
    first = tokenizer.bos_token_id
    if first is None and bos == EVERY:
        raise ValueError(f"bos must be {FIRST!r} for a tokenizer without a BOS token, not {bos!r}.")
    ids = tokenizer("\n\n".join(texts), add_special_tokens=False, verbose=False)["input_ids"]
    if bos == FIRST:
        if first is None:
            log.warning("The tokenizer has no BOS token: perplexity with bos=%s is measured without any.", FIRST)
        ids = ids if first is None else [first, *ids]
    count = len(ids) // window
    if count < 1:
        raise ValueError(f"texts must fill at least one window of {window} tokens, but they have {len(ids)}.")
    windows = torch.tensor(ids[: count * window], dtype=torch.int64).view(count, window)
    if most is not None and most < count:
        windows = windows[torch.arange(most) * count // most]
    if bos == EVERY:
        windows = F.pad(windows, (1, 0), value=first)
    return windows


@torch.inference_mode()
def perplexity(model: Any, windows: Tensor, *, batch_size: int = BATCH_SIZE, title: str | None = None) -> float:
    """Returns the perplexity of a causal model on windows of token ids, each read alone.

    The sums stay on the model's device, in float64, until all windows are read.

    Args:
        model: of transformers, or any module with its output's `logits` (B, L, V).
        windows: (W, L) int64, of `text_windows`.
        batch_size: windows of one pass.
        title: of a progress bar, which terminals alone show; None: none.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    batches = windows.split(batch_size)
    for batch in tqdm(batches, desc=title, unit="batch", leave=False, disable=True if title is None else None):
        ids = batch.to(device, non_blocking=True)  # (B, L)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()  # (B, L - 1, V)
        total += F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
    return (total / windows[:, 1:].numel()).exp().item()


def measure(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    bos: str = FIRST,
    window: int = WINDOW,
    most: int | None = None,
    batch_size: int = BATCH_SIZE,
    title: str | None = None,
) -> Perplexity:
    """Returns the perplexity on documents; the arguments are those of `text_windows` and `perplexity`.

    Raises:
        ValueError: as `text_windows`.
    """
    windows = text_windows(texts, tokenizer, bos=bos, window=window, most=most)
    value = perplexity(model, windows, batch_size=batch_size, title=title)
    return Perplexity(value, bos, window, len(windows), windows[:, 1:].numel(), fingerprint(windows))
