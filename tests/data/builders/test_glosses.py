"""How questions and words are chosen from WordNet's files: a few lines of these, written here in their format."""

from dataclasses import replace

import pytest

from ldc.data.builders.glosses import choose, question, usable
from ldc.data.builders.wordnet import Entry, read_database, read_package

DATABASE = {
    "index.noun": "  1 licence\nbank n 2 1 @ 2 1 00000001 00000002\n"
    "nov n 1 0 1 1 00000003\nhot_dog n 1 0 1 1 00000002\n",
    "data.noun": "  1 licence\n"
    '00000001 17 n 02 bank 0 depository 0 002 @ 00000009 n 0000 + 00000008 v 0101 | a place for money; '
    '"at the bank"; "x"\n'
    "00000002 17 n 01 bank 1 000 | sloping land \n"
    "00000003 17 n 01 Nov 0 000 | a month  \n",
    "index.verb": "", "data.verb": "",
    "index.adj": "aware a 1 1 ! 1 1 00000005\n",
    "data.adj": '00000005 00 s 01 aware(p) 0 000 | having knowledge of: "aware of it"  \n',
    "index.adv": "", "data.adv": "",
    "cntlist.rev": "bank%1:17:00:: 1 9\nbank%1:17:01:: 2 4\nnov%1:17:00:: 1 3\naware%5:00:00:x:00 1 2\n",
}  # fmt: skip


def entry(word, gloss="a definition of some length", synset=None, **changes):
    return replace(Entry(word, "noun", gloss, None, 5, synset or word, frozenset()), **changes)


def test_a_word_is_read_in_its_first_sense_without_the_examples():
    bank = next(found for found in read_database(DATABASE) if found.word == "bank")
    assert (bank.pos, bank.gloss, bank.example, bank.count) == ("noun", "a place for money", "at the bank", 9)


def test_other_senses_and_pointers_are_kin():
    bank = next(found for found in read_database(DATABASE) if found.word == "bank")
    assert bank.synset == "n00000001"
    assert bank.kin == {"n00000002", "n00000009", "v00000008"}


def test_satellite_adjectives_are_adjectives_and_names_are_left_out():
    assert [(found.word, found.pos) for found in read_database(DATABASE)] == [("aware", "adjective"), ("bank", "noun")]


def test_another_package_is_refused(tmp_path):
    (tmp_path / "other.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(ValueError, match=r"other\.deb must have sha256 61060d96"):
        read_package(tmp_path / "other.deb")


def test_rare_words_and_definitions_that_tell_the_word_are_left_out():
    entries = [
        entry("known"),
        entry("rare", count=1),
        entry("short", "too short"),
        entry("teacher", "one who teaches others"),
    ]
    assert [found.word for found in usable(entries)] == ["known"]


def test_a_word_is_asked_for_as_what_it_most_often_is():
    assert usable([entry("run", count=3), entry("run", pos="verb", count=8)])[0].pos == "verb"


def test_chosen_words_share_no_synset_with_each_other_or_with_those_taken():
    entries = [
        entry("one", synset="a"),
        entry("two", synset="a"),
        entry("three", synset="b"),
        entry("four", synset="c"),
    ]
    chosen = choose(entries, {"noun": 2}, taken=[entries[3]])
    assert {found.synset for found in chosen} == {"a", "b"}
    with pytest.raises(ValueError, match=r"there must be 3 words to choose, but only 2 are fit\."):
        choose(entries, {"noun": 3}, taken=[entries[3]])


def test_a_question_has_its_answer_among_alike_definitions_of_unrelated_words():
    asked = entry("bank", "a place for money", synset="s", kin=frozenset({"kin"}))
    others = [entry(f"w{length}", "x" * length) for length in range(10, 40)]
    near = [
        entry("other", "y" * 17, synset="kin"),
        entry("banking", "what banks are for"),
        entry("v", "z" * 17, pos="verb"),
    ]
    made = question(asked, [asked, *near, *others], 3)
    assert made["choices"][made["answer"]] == "a place for money"
    assert len(set(made["choices"])) == 4
    assert all(set(choice) == {"x"} and 10 < len(choice) < 24 for choice in made["choices"] if choice != asked.gloss)
    assert made == question(asked, [asked, *near, *others], 3)
