"""Captions with the states that a pretrained reference encoder has for them, word by word.

Legend: B batch, N texts, W words, L tokens, R the reference's width. A text has W + 1 rows: its words, and the whole.

The reference (any transformers encoder with a fast tokenizer, such as MiniLM) is needed to build the shipped teacher
only. It is read from a folder, never from a hub.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ldc.data.order import StreamOrder

WORD = re.compile(r"[^\W\d_]+|\d")


class CaptionStatesBatch(NamedTuple):
    """What `ldc.objectives.CaptionStates` takes."""

    tokens: Tensor  # (B, L) int64
    pooling: Tensor  # (B, W + 1, L) float32; a row averages the tokens of a word, the last row picks the end token
    targets: Tensor  # (B, W + 1, R) float32, standardised per channel
    mask: Tensor  # (B, W + 1) bool; rows that both encoders have
    positions: Tensor  # (B,) int64
    keys: list[str]  # B texts


class ReferenceStates(NamedTuple):
    """A reference encoder's states of N texts."""

    states: Tensor  # (N, W + 1, R) float32: the mean over a word's pieces; last, over all pieces
    mask: Tensor  # (N, W + 1) bool; rows that the text has


def load_reference(folder: Path | str) -> tuple[Any, Any]:
    """Returns (fast tokenizer, encoder in evaluation mode) of a transformers folder, without any network.

    Raises:
        ValueError: the folder holds no model.
    """
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415  only the build of the teacher needs them

    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"reference must be a folder with an encoder's config.json, not {str(folder)!r}.")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def word_rows(offsets: Tensor, texts: Sequence[str], num_words: int) -> Tensor:
    """Returns which tokens lie in which word: (N, W, L) bool, words past `num_words` left out.

    Args:
        offsets: each token's characters [start, end) in its text, (N, L, 2); empty for specials and padding.
    """
    spans = torch.full((len(texts), num_words, 2), -1)
    for row, text in enumerate(texts):
        for place, word in enumerate(WORD.finditer(text)):
            if place == num_words:
                break
            spans[row, place] = torch.tensor(word.span())
    start, end = offsets[:, None, :, 0], offsets[:, None, :, 1]  # (N, 1, L)
    return (start < spans[..., 1:]) & (end > spans[..., :1]) & (end > start)


@torch.no_grad()
def reference_states(
    texts: Sequence[str], tokenizer: Any, encoder: Any, num_words: int, batch_size: int = 128
) -> ReferenceStates:
    """Runs the reference over the texts."""
    states, masks = [], []
    for first in range(0, len(texts), batch_size):
        part = texts[first : first + batch_size]
        tokens = tokenizer(part, padding=True, truncation=True, return_tensors="pt", return_offsets_mapping=True)
        rows = word_rows(tokens.pop("offset_mapping"), part, num_words)
        rows = torch.cat([rows, tokens["attention_mask"].bool()[:, None]], dim=1).float()  # (n, W + 1, l)
        counts = rows.sum(-1, keepdim=True)
        states.append(rows @ encoder(**tokens).last_hidden_state.float() / counts.clamp(min=1))
        masks.append(counts[..., 0] > 0)
    return ReferenceStates(torch.cat(states), torch.cat(masks))


def pool_tokens(texts: Sequence[str], tokenizer: Any, num_words: int) -> tuple[Tensor, Tensor]:
    """Returns the texts' tokens, (N, L) int64, and the pooling of `CaptionStatesBatch`, (N, W + 1, L)."""
    encoded = tokenizer(
        list(texts), padding="max_length", truncation=True, return_tensors="pt", return_offsets_mapping=True
    )
    tokens = encoded.input_ids
    words = word_rows(encoded.offset_mapping, texts, num_words).float()
    end = torch.zeros(len(tokens), 1, tokens.shape[1])
    end[torch.arange(len(tokens)), 0, (tokens == tokenizer.eos_token_id).int().argmax(1)] = 1  # the first is the end
    pooling = torch.cat([words, end], dim=1)
    return tokens, pooling / pooling.sum(-1, keepdim=True).clamp(min=1)


class CaptionStatesDataset(Dataset):
    """A map from positions of the endless stream to texts with their targets, which are computed once, here.

    Args:
        texts: captions.
        tokenizer: the student's; texts are padded and cut to its `model_max_length`.
        reference: folder of the reference encoder.
        num_words: W; words after these have no row.
        seed: of the stream's order and of the held-out choice.
        num_held_out: texts kept out of the stream, as `held_out()`.

    Raises:
        ValueError: `reference` holds no model, or no text would be left to train on.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Any,
        reference: Path | str,
        *,
        num_words: int = 12,
        seed: int = 0,
        num_held_out: int = 0,
    ):
        if not 0 <= num_held_out < len(texts):
            raise ValueError(f"num_held_out must be in [0, {len(texts)}), not {num_held_out}.")
        self.texts = list(texts)
        states, present = reference_states(self.texts, *load_reference(reference), num_words)
        self.tokens, self.pooling = pool_tokens(self.texts, tokenizer, num_words)
        mean, std = states[present].mean(0), states[present].std(0)
        self.targets = (states - mean) / std.clamp(min=1e-6)
        self.mask = present & (self.pooling.sum(-1) > 0)
        shuffled = [StreamOrder(len(self.texts), seed)(place) for place in range(len(self.texts))]
        self._held_out, self._trained = sorted(shuffled[:num_held_out]), sorted(shuffled[num_held_out:])
        self.size = len(self._trained)
        self.order = StreamOrder(self.size, seed)

    @property
    def reference_width(self) -> int:
        """R."""
        return self.targets.shape[-1]

    def __getitem__(self, position: int) -> tuple[int, int]:  # pyrefly: ignore  a position, not an index
        """Returns the position and the number of the text that stands there."""
        return position, self._trained[self.order(position)]

    def collate(self, samples: Sequence[tuple[int, int]]) -> CaptionStatesBatch:
        """Returns the batch of what `__getitem__` gave."""
        positions, numbers = zip(*samples, strict=True)
        return self._batch(list(positions), list(numbers))

    def held_out(self) -> CaptionStatesBatch:
        """Returns the held-out texts as one batch, whose positions are their numbers."""
        return self._batch(self._held_out, self._held_out)

    def _batch(self, positions: list[int], numbers: list[int]) -> CaptionStatesBatch:
        return CaptionStatesBatch(
            self.tokens[numbers],
            self.pooling[numbers],
            self.targets[numbers],
            self.mask[numbers],
            torch.tensor(positions),
            [self.texts[number] for number in numbers],
        )
