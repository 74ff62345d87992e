"""The shipped glosses: what the README says of them holds, and damaged files are refused."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from ldc.data.text.glosses import QUESTIONS, gloss_questions, gloss_words

ASSETS = Path(__file__).parents[3] / "assets" / "glosses"


def test_there_are_600_questions_with_four_choices_of_which_one_is_right():
    questions = gloss_questions(ASSETS)
    assert Counter(question.pos for question in questions) == {"noun": 300, "verb": 150, "adjective": 120, "adverb": 30}
    assert all(len(set(question.choices)) == 4 for question in questions)
    places = Counter(question.answer for question in questions)
    assert set(places) == set(range(4))
    assert min(places.values()) > 100


def test_a_wrong_choice_is_the_right_answer_of_another_question():
    questions = gloss_questions(ASSETS)
    right = {question.choices[question.answer]: question.pos for question in questions}
    assert len(right) == 600
    assert all(right[choice] == question.pos for question in questions for choice in question.choices)


def test_the_context_names_the_word_and_no_choice_does():
    for question in gloss_questions(ASSETS):
        assert f'the {question.pos} "{question.word}"' in question.context
        assert not any(question.word in choice.split() for choice in question.choices)


def test_words_to_train_on_are_none_of_the_questions():
    words, questions = gloss_words(ASSETS), gloss_questions(ASSETS)
    assert len({word.word for word in words}) == 2000
    assert not {word.word for word in words} & {question.word for question in questions}
    assert not {word.gloss for word in words} & {question.choices[question.answer] for question in questions}


def test_the_notice_and_the_licence_are_shipped_and_all_is_small():
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in (ASSETS / "NOTICE.md").read_text()
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 400_000


def test_a_folder_without_glosses_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"glosses must be a folder with questions\.jsonl\.gz, not '"):
        gloss_questions(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / QUESTIONS).write_bytes(gzip.compress(b'{"word": "a"')[:-9])
    with pytest.raises(ValueError, match=r"must be lines of JSON, compressed by gzip, but it is damaged"):
        gloss_questions(tmp_path)
