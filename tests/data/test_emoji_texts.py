from ldc.data.builders.emoji_texts import emoji_texts

CAPTIONS = ["red apple in noto style", "fire engine in fluent style"]
CONCEPTS = ["red apple", "fire engine", "man with a white cane"]
STYLES = ["fluent", "noto"]


def test_every_concept_stands_alone_and_in_every_style():
    texts = set(emoji_texts(CAPTIONS, CONCEPTS, STYLES))
    assert {*CAPTIONS, *CONCEPTS} <= texts
    assert {f"{concept} in {style} style" for concept in CONCEPTS for style in STYLES} <= texts


def test_only_short_concepts_are_coloured():
    texts = emoji_texts(CAPTIONS, CONCEPTS, STYLES)
    assert any(text.endswith(f" fire engine in {style} style") for text in texts for style in STYLES)
    assert not any(" man with" in text for text in texts)


def test_order_of_the_inputs_does_not_matter():
    assert emoji_texts(CAPTIONS, CONCEPTS, STYLES) == emoji_texts(CAPTIONS[::-1], CONCEPTS[::-1], STYLES[::-1])
