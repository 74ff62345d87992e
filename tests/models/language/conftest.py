"""A tokenizer of single letters, and folders of the tiny Llama."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@pytest.fixture
def letters():
    """A tokenizer of one letter a token: 0 is unknown, 1 begins a text, 2 ends it."""
    vocab = {
        token: index for index, token in enumerate(["<unk>", "<s>", "</s>", *(chr(code) for code in range(32, 127))])
    }
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


@pytest.fixture
def save_llama(tiny_llama, letters, tmp_path):
    """`save_llama(name, **config)`: the folder of a tiny Llama of 4 blocks and its tokenizer."""

    def save(name="teacher", dtype=None, **changes):
        model = tiny_llama(num_hidden_layers=4, **changes)
        model.to(dtype).save_pretrained(tmp_path / name)
        letters.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save
