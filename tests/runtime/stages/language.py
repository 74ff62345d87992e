"""A tiny Llama with a tokenizer of words, and a text for it: what tests of stages of language models run on."""

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ["document", *map(str, range(200))]


def save_teacher(model, folder):
    """Writes the model with a tokenizer of WORDS; returns the folder."""
    words = {word: place for place, word in enumerate(["<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model.config.bos_token_id, model.config.eos_token_id = 0, 1
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder


def write_text(path, documents=120, length=12):
    """Writes documents that count on from a number each; returns the path."""
    rows = [" ".join(["document", *(str((d + step) % 200) for step in range(length))]) for d in range(documents)]
    path.write_text("\n\n".join(rows))
    return path
