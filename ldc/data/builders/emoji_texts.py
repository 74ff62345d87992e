"""The texts on which the shipped text encoder is pretrained: emoji64's captions, and what users may ask beside them.

Styles that a concept was never drawn in, and colours that it never had, come in as text, so that the encoder knows the
words together before it meets drawings.
"""

from collections.abc import Iterable

from ldc.randomness import generator

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "pink")
COLOURED_THINGS = ("circle", "square", "heart", "book", "apple", "face", "car", "cat")
MAX_COLOURED_CONCEPTS = 800  # the first ones of at most so many words
MAX_COLOURED_WORDS = 2
NUM_COLOURS_PER_CONCEPT = 2


def emoji_texts(captions: Iterable[str], concepts: Iterable[str], styles: Iterable[str], seed: int = 0) -> list[str]:
    """Returns the distinct texts, sorted: captions, concepts alone, in every style, and in drawn colours."""
    concepts, styles = sorted(set(concepts)), sorted(set(styles))
    texts = {*captions, *concepts}
    texts |= {f"{concept} in {style} style" for concept in concepts for style in styles}
    texts |= {f"{colour} {thing}" for colour in COLOURS for thing in COLOURED_THINGS}
    short = [concept for concept in concepts if len(concept.split()) <= MAX_COLOURED_WORDS][:MAX_COLOURED_CONCEPTS]
    for place, concept in enumerate(short):
        draws = generator(seed, "emoji texts", place)
        for _ in range(NUM_COLOURS_PER_CONCEPT):
            colour, style = COLOURS[draws.integers(len(COLOURS))], styles[draws.integers(len(styles))]
            texts.add(f"{colour} {concept} in {style} style")
    return sorted(texts)
