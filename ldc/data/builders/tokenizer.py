"""Builds a small tokenizer in CLIP's scheme from captions, for the text encoder of the shipped teacher.

The scheme (Radford et al. 2021): lower-cased words, byte-level pair encoding (Sennrich et al. 2016) with `</w>` at a
word's end, and the vocabulary in the order bytes, bytes with `</w>`, merges, start, end. Every byte is a token, so any
text can be encoded. The learner is ours because that of `tokenizers` breaks ties by the order of a hash map: two runs
on the same captions give different tokens.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

WORD_END = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
NUM_FIXED_TOKENS = 2 * 256 + 2  # each byte with and without the word end; start and end

Pair = tuple[str, str]


def build_tokenizer(texts: Iterable[str], size: int = 2048, max_length: int = 24) -> CLIPTokenizer:
    """Returns a stock CLIPTokenizer of at most `size` tokens whose merges are those most frequent in the texts.

    Args:
        texts: captions; their order does not matter, repetition weighs.
        size: the most tokens that the vocabulary may have.
        max_length: tokens that a text is padded or truncated to, start and end included.

    Raises:
        ValueError: `size` leaves no room for a merge.
    """
    if size <= NUM_FIXED_TOKENS:
        raise ValueError(f"size must be over {NUM_FIXED_TOKENS}, which the bytes and the specials take, not {size}.")
    merges = learn_merges(count_words(texts), size - NUM_FIXED_TOKENS)
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + WORD_END for byte in alphabet), *("".join(merge) for merge in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    # Its annotation of `merges` is narrower than what it takes and itself saves: pairs.
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length, pad_token=END)  # pyrefly: ignore


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Returns how often each word occurs, normalised and split as CLIPTokenizer does, in its alphabet of bytes."""
    backend = CLIPTokenizer().backend_tokenizer
    return Counter(
        word
        for text in texts
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    )


def learn_merges(words: Counter[str], num_merges: int, min_count: int = 2) -> list[Pair]:
    """Returns the merges of byte-pair encoding, first to last: each joins the pair that is most frequent by then.

    Of equally frequent pairs the alphabetically first one is joined, so the merges depend on the words alone.
    """
    spelled = [([*word[:-1], word[-1] + WORD_END], count) for word, count in sorted(words.items())]
    counts: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = {}  # pair: the words that have had it
    for place, (symbols, count) in enumerate(spelled):
        _count_pairs(symbols, count, place, counts, places)
    merges: list[Pair] = []
    while counts and len(merges) < num_merges:
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[pair] < min_count:
            break
        merges.append(pair)
        for place in places.pop(pair):
            symbols, count = spelled[place]
            _count_pairs(symbols, -count, place, counts, places)
            symbols[:] = _join(symbols, pair)
            _count_pairs(symbols, count, place, counts, places)
        del counts[pair]
    return merges


def _count_pairs(
    symbols: list[str], count: int, place: int, counts: Counter[Pair], places: dict[Pair, set[int]]
) -> None:
    for pair in pairwise(symbols):
        counts[pair] += count
        places.setdefault(pair, set()).add(place)


def _join(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined
