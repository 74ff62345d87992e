"""A tokenizer of letters, and a tiny Llama of its vocabulary."""

import string

import pytest

LETTERS = string.ascii_letters + string.digits + " .,\n"


@pytest.fixture(scope="session")
def letters():
    """`letters(bos="<s>")`: one id a letter; no special token is added to a text."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers  # noqa: PLC0415 - with transformers, seconds
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    def make(bos="<s>"):
        vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *LETTERS])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token="</s>", unk_token="<unk>")

    return make


@pytest.fixture
def reader(tiny_llama):
    """A Llama of 2 blocks that reads these letters."""
    return tiny_llama(num_hidden_layers=2)
