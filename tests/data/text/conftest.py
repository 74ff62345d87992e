"""A tokenizer of words for the tests of text data."""

import json

import pytest

WORDS = (*"abcd", "number", "of", "the", "some", "words", "that", "are", "long", *"0123456789.,?:;()")


@pytest.fixture(scope="session")
def make_tokenizer():
    """`make_tokenizer(texts=(), **special_tokens)`: one id a word; BOS is added to a text, EOS is not."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415 - with transformers, seconds
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    def make(texts=(), *, bos="<s>", eos="</s>", unk="<unk>", pad=None):
        vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
        split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
        words = [word for text in texts for word, _ in split.pre_tokenize_str(text)]
        for word in [*WORDS, *words]:
            vocabulary.setdefault(word, len(vocabulary))
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = split
        if bos:
            tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, unk_token=unk, pad_token=pad
        )

    return make


@pytest.fixture
def tiny_tokenizer(make_tokenizer):
    return make_tokenizer()


@pytest.fixture(scope="session")
def write_texts():
    """`write_texts(path, number)`: a jsonl of so many documents of 2 to 9 words, which begin with their number."""

    def write(path, number):
        words = ["number", "of", "the", "some", "words", "that", "are", "long"]
        texts = [" ".join([*str(place), *words[: 1 + place % 8]]) for place in range(number)]
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    return write
