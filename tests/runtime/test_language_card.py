import pytest

from ldc.artifacts import Artifact
from ldc.runtime.language_card import write_language_card

TEACHER = {"teacher": {"path_or_id": "pypi:a==1/b.gguf", "quantised": "Q4_1"}}
DEPTH = {"criterion": "perplexity", "protect_first": 4, "protect_last": 2, "iterative": False}
FACTS = {"budget": {"num_removed": 2}, "calibration": "cal", "removed_blocks": [4, 7]}
MADE = {"parent": "pypi:a==1/b.gguf", "origin": "pypi:a==1/b.gguf", "parent_quantised": "Q4_1"}


@pytest.fixture
def card(tmp_path):
    """`card(others, ...)`: the text of the card of a retrained student."""

    def write(*others, metrics=None, config=None, weights="best"):
        artifact = Artifact(tmp_path, "language_student", "r", [other.id for other in others], config=config or TEACHER)
        artifact = Artifact(**{**vars(artifact), "weights": weights, "metrics": metrics or {}})
        return write_language_card(artifact, "title", others).read_text()

    return write


def pruned(tmp_path, **metrics):
    facts = {**MADE, **FACTS, **metrics}
    return Artifact(tmp_path / "pruned", "language_student", "p", config=TEACHER, weights="pruned", metrics=facts)


def test_a_retrained_students_card_names_the_criterion_and_what_the_parent_had_been_through(card, tmp_path):
    text = card(pruned(tmp_path, **DEPTH))
    assert "| criterion | perplexity, the first 4 blocks and the last 2 not among them |" in text
    assert "| budget | num_removed=2 |" in text
    assert "| quantised before | Q4_1 |" in text
    assert "| blocks removed | 4, 7 |" in text


def test_scoring_again_after_each_block_is_said(card, tmp_path):
    assert ", scored again after each block |" in card(pruned(tmp_path, **DEPTH | {"iterative": True}))


def test_a_width_method_is_named(card, tmp_path):
    text = card(pruned(tmp_path, method="Flap"))
    assert "| method | Flap |" in text
    assert "criterion" not in text


def test_the_calibration_set_is_that_of_the_last_pruning(card, tmp_path):
    assert "calibration set" not in card(pruned(tmp_path, **DEPTH, calibration=None))


def test_bits_are_told_of_a_student_that_has_them_now(card, tmp_path):
    packed = pruned(tmp_path, **DEPTH, bits_per_weight=4.25)
    assert "bits a quantised weight" not in card(packed)
    assert "| bits a quantised weight | 4.25, scales included |" in card(packed, metrics={"bits_per_weight": 4.25})


def test_the_licence_is_that_of_the_first_parent_and_the_nearest_one_is_named_too(card):
    text = card(metrics={"parent": "student", "origin": "hub/id", "parent_quantised": None}, weights="pruned")
    assert "made of `hub/id`: parts of it were removed" in text
    assert "derived from `hub/id`, whose licence" in text
    assert "| parent | `student` |" in text


def test_a_student_of_nothing_known_is_of_its_parent(card):
    assert "made of its parent" in card(config={"seed": 0})
