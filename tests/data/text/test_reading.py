"""Mixtures of sources, and the lists of texts that calibration and perplexity take."""

import json

import pytest

from ldc.data.text.reading import calibration_texts, check_held_out, held_out_texts
from ldc.data.text.sources import Mixture, PydocTopics, TextFiles


@pytest.fixture
def mixture(tmp_path):
    parts = {}
    for name in ("one", "two"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(40)))
        parts[name] = TextFiles(path, held_out=0.3)
    return lambda **options: Mixture(parts, **options)


def test_calibration_draws_from_the_part_that_is_named_for_it(mixture):
    texts = calibration_texts(mixture(calibration="two"))
    assert texts
    assert all(text.startswith("two") for text in texts)


def test_calibration_draws_from_all_parts_where_none_is_named(mixture):
    assert {text.split()[0] for text in calibration_texts(mixture())} == {"one", "two"}


def test_held_out_texts_of_parts_are_apart_and_never_calibrate(mixture):
    held_out = held_out_texts(mixture())
    assert set(held_out) == {"one", "two"}
    assert all(text.startswith(part) for part, texts in held_out.items() for text in texts)
    assert not {text for texts in held_out.values() for text in texts} & set(calibration_texts(mixture()))


def test_of_a_large_corpus_the_first_documents_calibrate(mixture):
    assert calibration_texts(mixture(), limit=3) == calibration_texts(mixture())[:3]


def test_of_much_held_out_text_the_first_documents_of_each_part_are_taken(mixture):
    whole = held_out_texts(mixture())
    assert held_out_texts(mixture(), limit=2) == {part: texts[:2] for part, texts in whole.items()}
    assert min(map(len, whole.values())) > 2


def test_training_files_are_not_read_for_held_out_texts_of_their_own_file(tmp_path):
    (tmp_path / "a.jsonl").write_text("{damaged\n")
    (tmp_path / "b.jsonl").write_text('{"text": "kept out"}\n')
    source = TextFiles(tmp_path / "a.jsonl", held_out_path=tmp_path / "b.jsonl")
    assert held_out_texts(source) == {"text_files": ["kept out"]}
    with pytest.raises(ValueError, match="unreadable line"):
        calibration_texts(source)


def test_a_source_that_holds_nothing_out_is_refused_where_that_is_wanted(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(
        ValueError, match=r"the text of text_files must have held-out documents, but it has none: raise"
    ):
        held_out_texts(TextFiles(tmp_path / "a.txt", held_out=0.0))


def test_a_source_of_nothing_but_blank_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"the text of text_files must have documents to train on, but it has none\."):
        calibration_texts(TextFiles(tmp_path / "a.txt"))


def test_a_part_that_is_not_there_is_refused(mixture):
    with pytest.raises(ValueError, match=r"calibration must be one of one, two, not 'three'\."):
        mixture(calibration="three").check()


@pytest.fixture
def held_out(tmp_path):
    """A source whose held-out text is `letters` letters long, in documents of ten."""

    def build(letters, **options):
        path, apart = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        path.write_text('{"text": "to train on"}')
        apart.write_text("".join(json.dumps({"text": "a" * 10}) + "\n" for _ in range(letters // 10)))
        return TextFiles(path, held_out_path=apart, **options)

    return build


def test_held_out_text_that_cannot_fill_a_window_is_refused_before_it_is_tokenised(held_out):
    check_held_out(held_out(100), [], "part", 100)
    with pytest.raises(
        ValueError,
        match=r"the held-out text of text_files must have at least 200 tokens, one window, and 100 bytes cannot be as "
        r"many: raise held_out, or give files of their own\.",
    ):
        check_held_out(held_out(100), [], "part", 200)


def test_a_share_of_few_documents_that_happens_to_hold_out_none_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"some text {n}"}) + "\n" for n in range(4)))
    source = TextFiles(tmp_path / "a.jsonl", held_out=0.01)
    with pytest.raises(ValueError, match="must have held-out documents, but it has none: raise held_out, or give"):
        check_held_out(source, [], "part")


def test_each_part_that_is_named_must_have_enough_and_else_all_together(tmp_path, held_out):
    parts = {"small": held_out(20), "pydoc": PydocTopics()}
    check_held_out(Mixture(parts), [], "part", 1000)
    check_held_out(Mixture(parts), ["pydoc"], "part", 1000)
    with pytest.raises(ValueError, match="the held-out text of small must have at least 1000 tokens"):
        check_held_out(Mixture(parts), ["pydoc", "small"], "part", 1000)


def test_text_that_must_be_fetched_is_not_looked_at(held_out):
    remote = TextFiles("https://example.org/{00..99}.tar", held_out=0.1)
    check_held_out(remote, [], "part", 1000)
    check_held_out(Mixture({"one": held_out(20), "two": remote}), [], "part", 1000)


def test_of_a_large_corpus_only_so_much_is_read_as_is_needed(tmp_path):
    lines = [json.dumps({"text": "enough text"}), "{damaged", "{damaged"]
    (tmp_path / "a.jsonl").write_text("to train on")
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    check_held_out(TextFiles(tmp_path / "a.jsonl", held_out_path=tmp_path / "b.jsonl"), [], "part", 10)
