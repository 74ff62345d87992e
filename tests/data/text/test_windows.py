"""Windows of packed tokens: what they hold, their order, and text that fills none."""

import numpy as np
import pytest
import torch

from ldc.data.text.tokens import TokenStream
from ldc.data.text.windows import TokenWindows


@pytest.fixture
def stream(tmp_path):
    np.arange(50, dtype=np.uint16).tofile(tmp_path / "0.bin")
    return TokenStream([tmp_path / "0.bin"], [50], "uint16")


def test_the_windows_are_all_tokens_but_a_tail_that_fills_none(stream):
    windows = TokenWindows(stream, 8)
    ids = torch.cat([batch.ids for batch in windows.in_order(4)])
    assert windows.size == 6
    assert torch.equal(ids, torch.arange(48).view(6, 8))


def test_an_epoch_has_every_window_once_in_an_order_of_the_position_alone(stream):
    windows = TokenWindows(stream, 8, seed=3)
    numbers = [windows[position][1] for position in range(12)]
    assert sorted(numbers[:6]) == sorted(numbers[6:]) == list(range(6))
    assert numbers == [TokenWindows(stream, 8, seed=3)[position][1] for position in range(12)]
    assert numbers[:6] != numbers[6:]


def test_every_token_is_a_label_and_none_is_padding(stream):
    windows = TokenWindows(stream, 8)
    batch = windows.collate([windows[7], windows[2]])
    assert batch.ids.dtype == torch.int64
    assert torch.equal(batch.labels, batch.ids)
    assert batch.mask.tolist() == [[1] * 8] * 2
    assert batch.positions.tolist() == [7, 2]
    assert batch.keys == [f"train window {windows[position][1]}" for position in (7, 2)]


def test_a_limit_ends_the_windows_in_order(stream):
    batches = list(TokenWindows(stream, 8).in_order(2, limit=3))
    assert [len(batch.ids) for batch in batches] == [2, 1]


def test_text_that_is_shorter_than_a_window_is_refused_with_the_numbers(stream):
    with pytest.raises(ValueError, match=r"the held-out text must have at least 64 tokens, one window, not 50\."):
        TokenWindows(stream, 64, name="held-out")


def test_a_window_of_one_token_is_refused(stream):
    with pytest.raises(ValueError, match=r"length must be at least 2 tokens, not 1\."):
        TokenWindows(stream, 1)
