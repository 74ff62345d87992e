import pytest
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.data.builders.tokenizer import build_tokenizer, count_words, learn_merges

TEXTS = [f"{colour} {fruit} in noto style" for colour in ("red", "green") for fruit in ("apple", "pear", "melon")]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TEXTS, size=600)


def test_frequent_words_become_one_token(tokenizer):
    assert tokenizer.tokenize("Red apple style") == ["red</w>", "apple</w>", "style</w>"]


def test_vocabulary_has_at_most_the_given_size(tokenizer):
    assert 514 < len(tokenizer) <= 600
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_vocabulary_size_binds_when_the_texts_have_more_pairs():
    assert len(build_tokenizer(TEXTS, size=520)) <= 520


def test_start_and_end_are_the_last_two_tokens_and_padding_is_the_end(tokenizer):
    size = len(tokenizer)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (size - 2, size - 1, size - 1)


def test_empty_caption_is_start_end_and_padding(tokenizer):
    ids = tokenizer("", padding="max_length", truncation=True).input_ids
    assert ids == [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * 23


def test_any_text_survives_a_round_trip_in_lower_case(tokenizer):
    text = 'a "grüne" pear , ( x = 7 ) 🍐'
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_saved_folder_loads_as_a_stock_clip_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(TEXTS).input_ids == tokenizer(TEXTS).input_ids
    assert loaded.model_max_length == 24


def test_order_of_the_texts_does_not_matter(tokenizer):
    assert build_tokenizer(TEXTS[::-1], size=600).get_vocab() == tokenizer.get_vocab()


def test_merges_follow_frequency_and_then_the_alphabet():
    # Sennrich et al. 2016's example: e-s (9) before s-t</w> (9) by the alphabet, then es-t</w> (9), then l-o (7).
    words = count_words(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    assert learn_merges(words, 4) == [("e", "s"), ("es", "t</w>"), ("l", "o"), ("e", "w")]


def test_pairs_that_occur_once_are_not_merged():
    assert learn_merges(count_words(["ab", "ab", "cd"]), 9) == [("a", "b</w>")]


def test_repeated_symbols_merge_from_the_left():
    assert learn_merges(count_words(["aaaab"]), 1) == [("a", "a")]


def test_size_without_room_for_merges_is_refused():
    with pytest.raises(ValueError, match="size must be over 514"):
        build_tokenizer(TEXTS, size=514)
