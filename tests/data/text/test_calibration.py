"""The calibration set: the published draw, its rules on BOS, and texts that do not suffice."""

import random

import pytest
import torch

from ldc.data.text import calibration
from ldc.data.text.calibration import draw_crops, fingerprint


def published_rows():
    """The 40 rows of ids that the official scripts drew from on the tiny Llama: BOS = 1, ids 3 ... 255."""
    numbers = random.Random(5)  # noqa: S311 - as the rows were made
    return [[1] + [numbers.randint(3, 255) for _ in range(numbers.randint(20, 200))] for _ in range(40)]


def test_the_published_draw_gives_the_published_ids():
    rows = published_rows()
    ids = draw_crops(rows.__getitem__, len(rows), num_samples=10, length=32)
    assert ids.shape == (10, 32)
    assert ids.dtype == torch.int64
    assert ids.sum() == 40230


def test_a_crop_is_a_part_of_one_row_and_no_row_serves_twice():
    rows = [list(range(100 * number, 100 * number + 40 + number)) for number in range(6)]
    ids = draw_crops(rows.__getitem__, 6, num_samples=6, length=40)
    assert sorted(ids[:, 0].div(100, rounding_mode="floor").tolist()) == list(range(6))
    assert torch.equal(ids - ids[:, :1], torch.arange(40).expand(6, -1))


def test_the_same_seed_gives_the_same_crops_and_another_seed_others():
    rows = published_rows()
    one, again, other = (draw_crops(rows.__getitem__, 40, 10, 32, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_draw_leaves_pythons_generator_alone():
    random.seed(3)
    state = random.getstate()
    draw_crops(published_rows().__getitem__, 40, 10, 32)
    assert random.getstate() == state


def test_texts_become_crops_of_their_tokens(tiny_tokenizer):
    texts = [f"number {number} of the words " * 5 for number in range(5)]
    ids, name = calibration(texts, tiny_tokenizer, num_samples=3, length=8)
    whole = [tiny_tokenizer.decode(tiny_tokenizer(text)["input_ids"]) for text in texts]
    assert ids.shape == (3, 8)
    assert all(any(tiny_tokenizer.decode(crop) in text for text in whole) for crop in ids)
    assert name == fingerprint(ids)


def test_a_bos_stands_only_in_a_crop_that_starts_its_text(tiny_tokenizer):
    texts = ["some words that are long " * 4 for _ in range(9)]
    ids = calibration(texts, tiny_tokenizer, num_samples=9, length=10).ids
    assert not (ids[:, 1:] == tiny_tokenizer.bos_token_id).any()
    whole = len(tiny_tokenizer(texts[0])["input_ids"])
    assert (calibration(texts, tiny_tokenizer, 9, whole).ids[:, 0] == tiny_tokenizer.bos_token_id).all()


def test_a_bos_before_every_crop_takes_the_place_of_its_last_token(tiny_tokenizer):
    texts = ["some words that are long " * 4 for _ in range(9)]
    length = len(tiny_tokenizer(texts[0], add_special_tokens=False)["input_ids"])
    ids = calibration(texts, tiny_tokenizer, 9, length, add_bos_to_every=True).ids
    plain = tiny_tokenizer(texts[0], add_special_tokens=False)["input_ids"]
    assert ids.tolist() == [[tiny_tokenizer.bos_token_id, *plain[:-1]]] * 9


def test_the_fingerprint_is_of_the_ids_and_their_shape():
    ids = torch.arange(6).reshape(2, 3)
    assert fingerprint(ids) == fingerprint(ids.clone())
    assert len({fingerprint(ids), fingerprint(ids.reshape(3, 2)), fingerprint(ids + 1)}) == 3


def test_no_text_is_refused(tiny_tokenizer):
    with pytest.raises(ValueError, match=r"num_samples must be at most 0, the calibration text's documents, not 10\."):
        calibration([], tiny_tokenizer)


def test_texts_that_are_too_short_are_refused_with_the_numbers(tiny_tokenizer):
    texts = ["a b c", "some words that are long " * 9, "", "d"]
    with pytest.raises(
        ValueError, match=r"be at most 1, the documents with 20 tokens or more of the calibration text's 4, not 2\."
    ):
        calibration(texts, tiny_tokenizer, num_samples=2, length=20)


def test_a_tokenizer_without_bos_is_refused_where_one_is_added(tiny_tokenizer):
    tiny_tokenizer.bos_token = None
    with pytest.raises(ValueError, match=r"must have a BOS token when add_bos_to_every is true, but it has none\."):
        calibration(["words " * 99] * 10, tiny_tokenizer, add_bos_to_every=True)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match=r"num_samples and length must be at least 1, not 0 and 128\."):
        draw_crops(published_rows().__getitem__, 40, 0, 128)
