"""The topics of Python's reference as documents."""

import platform

from ldc.data.text.sources import PydocTopics
from ldc.data.text.sources.pydoc import distinct_paragraphs

LONG = "This is a paragraph of more than forty characters."


def test_a_paragraph_stays_in_the_shortest_topic_that_has_it():
    topics = {"compound": f"Compound\n\n{LONG}\n\nand more of it\n\nand more", "for": f"For\n\n{LONG}"}
    assert distinct_paragraphs(topics) == {
        "for": f"For\n\n{LONG}",
        "compound": "Compound\n\nand more of it\n\nand more",
    }


def test_a_topic_that_another_holds_whole_is_dropped_and_headings_stay():
    topics = {"short": LONG, "again": LONG, "longer one": f"Notes\n\n{LONG}", "longest one": f"Notes\n\n{LONG}\n\nx"}
    assert distinct_paragraphs(topics) == {"again": LONG, "longer one": "Notes", "longest one": "Notes\n\nx"}


def test_the_topics_are_those_of_this_python_and_no_held_out_paragraph_is_trained_on():
    source = PydocTopics()
    [unit] = source.units()
    documents = [document for document, _ in unit.read()]
    assert source.name == f"pydoc-{platform.python_version()}"
    assert len(documents) > 50
    paragraphs = {"train": set(), "held_out": set()}
    for document in documents:
        lines = (" ".join(part.split()) for part in document.text.split("\n\n"))
        paragraphs[document.split] |= {line for line in lines if len(line) >= 40}
    assert paragraphs["held_out"]
    assert not paragraphs["train"] & paragraphs["held_out"]
