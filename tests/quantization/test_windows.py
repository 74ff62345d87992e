import random

import pytest
import torch

from ldc.quantization import calibration_windows


class Letters:
    """A tokenizer whose tokens are the letters' numbers."""

    def __call__(self, text, **_):
        return {"input_ids": [ord(letter) for letter in text]}


def test_windows_are_drawn_as_published():
    texts = ["a" * 30, "bcd", "e" * 50]
    joined = "\n\n".join(texts)
    found = calibration_windows(texts, Letters(), num_samples=5, length=20, seed=3)
    random.seed(3)
    starts = [random.randint(0, len(joined) - 20) for _ in range(5)]  # noqa: S311
    assert found.ids.tolist() == [[ord(letter) for letter in joined[start : start + 20]] for start in starts]


def test_texts_may_be_shorter_than_a_window_if_all_together_are_not():
    assert calibration_windows(["ab"] * 10, Letters(), num_samples=3, length=30).ids.shape == (3, 30)


def test_too_little_text_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="must have at least 30 tokens, not 2"):
        calibration_windows(["ab"], Letters(), num_samples=3, length=30)


def test_no_text_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="must have at least 30 tokens, not 0"):
        calibration_windows([], Letters(), num_samples=3, length=30)


def test_the_fingerprint_tells_windows_apart():
    found = [calibration_windows(["abc" * 30], Letters(), 2, 10, seed) for seed in (0, 0, 1)]
    assert found[0].fingerprint == found[1].fingerprint != found[2].fingerprint
    assert found[0].ids.dtype == torch.int64
