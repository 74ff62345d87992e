import logging
import math

import pytest
import torch

from ldc.evaluation.language.perplexity import measure, perplexity, text_windows

TEXTS = ["the first document, of some words. " * 9, "another one of other words. " * 7]


def by_a_plain_loop(model, windows):
    """exp(mean NLL), one window and one target at a time."""
    losses = []
    for window in windows:
        log_p = model(window[None]).logits[0].double().log_softmax(dim=-1)
        losses += [-log_p[place, window[place + 1]].item() for place in range(len(window) - 1)]
    return math.exp(sum(losses) / len(losses)), len(losses)


@torch.no_grad()
@pytest.mark.parametrize(("bos", "targets"), [("first", 127), ("every", 128)])
def test_perplexity_equals_a_plain_loop_over_all_targets(letters, reader, bos, targets):
    found = measure(reader, letters(), TEXTS, bos=bos)
    windows = text_windows(TEXTS, letters(), bos=bos)
    expected, count = by_a_plain_loop(reader, windows)
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.targets == count == targets * found.windows
    assert found.windows == 4  # 513 tokens and a tail


def test_perplexity_does_not_depend_on_the_batch(letters, reader):
    windows = text_windows(TEXTS, letters())
    one, three = (perplexity(reader, windows, batch_size=size) for size in (1, 3))
    assert one == pytest.approx(three, rel=1e-6)


def test_documents_are_joined_by_a_blank_line_and_the_tail_is_dropped(letters):
    tokenizer = letters()
    windows = text_windows(["abc", "de"], tokenizer, window=3)
    assert tokenizer.convert_ids_to_tokens(windows.flatten()) == ["<s>", "a", "b", "c", "\n", "\n"]


def test_bos_stands_before_the_first_window_or_before_each(letters):
    first, every = (text_windows(TEXTS, letters(), bos=bos) for bos in ("first", "every"))
    assert first.shape[1] == 128
    assert (first == 1).sum() == 1
    assert every.shape[1] == 129
    assert (every[:, 0] == 1).all()
    assert (every == 1).sum() == len(every)


def test_fewer_windows_are_taken_at_equal_distances(letters):
    whole, some = (text_windows(TEXTS, letters(), window=16, most=most) for most in (None, 4))
    assert torch.equal(some, whole[[0, len(whole) // 4, len(whole) // 2, len(whole) * 3 // 4]])


def test_a_tokenizer_without_bos_is_refused_where_each_window_needs_one(letters):
    with pytest.raises(ValueError, match="bos must be 'first' for a tokenizer without a BOS token, not 'every'"):
        text_windows(TEXTS, letters(bos=None), bos="every")


def test_a_tokenizer_without_bos_reads_plain_text_and_says_so(letters, caplog):
    with caplog.at_level(logging.WARNING):
        windows = text_windows(["abcd"], letters(bos=None), window=2)
    assert letters().convert_ids_to_tokens(windows.flatten()) == ["a", "b", "c", "d"]
    assert "has no BOS token" in caplog.text


def test_a_text_that_fills_no_window_is_refused(letters):
    with pytest.raises(ValueError, match="fill at least one window of 128 tokens, but they have 6"):
        text_windows(["short"], letters())


def test_an_unknown_convention_is_refused(letters):
    with pytest.raises(ValueError, match="bos must be first or every, not 'none'"):
        text_windows(TEXTS, letters(), bos="none")
