"""Builds `assets/glosses`: dictionary glosses as multiple-choice questions, and others to train on.

    apt-get download wordnet-base
    python -m ldc.data.builders.glosses wordnet-base_1%3a3.0-37_all.deb assets/glosses

A build-time script: the files ship with the project, so a user never runs this. It needs nothing but Python.

A question is a word with four definitions, of which one is its most frequent sense. The other three are the right
answers of other questions, of the same part of speech and alike in length: how likely a definition is by itself says
nothing. No definition has its word in it. The words to train on share no word and no synset with the questions.
"""

import argparse
import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ldc.data.builders.wordnet import Entry, read_package
from ldc.data.text.glosses import QUESTIONS, WORDS, question_about
from ldc.randomness import generator

SEED = 0
NUM_QUESTIONS = {"noun": 300, "verb": 150, "adjective": 120, "adverb": 30}
NUM_WORDS = {"noun": 1000, "verb": 500, "adjective": 400, "adverb": 100}
NUM_CHOICES = 4
NEAREST = 12  # the other choices are drawn from so many definitions of the nearest length
LENGTH = range(20, 101)  # characters of a definition
MIN_COUNT = 2  # of the sense in WordNet's tagged texts: rarer words are hardly known
STEM = 5  # letters that the word and no word of its definition begin with


def usable(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries that can be asked for, each word once, as the part of speech that it most often is."""
    best: dict[str, Entry] = {}
    for entry in entries:
        if entry.word not in best or entry.count > best[entry.word].count:
            best[entry.word] = entry
    return [entry for entry in best.values() if entry.count >= MIN_COUNT and _is_plain(entry)]


def _is_plain(entry: Entry) -> bool:
    stem = entry.word[: max(3, min(STEM, len(entry.word) - 1))]
    words = entry.gloss.lower().replace("-", " ").replace("(", " ").split()
    return len(entry.gloss) in LENGTH and not any(word.startswith(stem) for word in words)


def choose(entries: Sequence[Entry], numbers: dict[str, int], taken: Sequence[Entry] = ()) -> list[Entry]:
    """Returns so many entries of each part of speech, by a hash of the word, no two and none of `taken` of one synset.

    Raises:
        ValueError: there are not so many.
    """
    words, synsets = {entry.word for entry in taken}, {entry.synset for entry in taken}
    chosen: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: hashlib.sha256(entry.word.encode()).digest()):
        room = numbers[entry.pos] > sum(other.pos == entry.pos for other in chosen)
        if room and entry.word not in words and entry.synset not in synsets:
            chosen.append(entry)
            synsets.add(entry.synset)
    if len(chosen) < sum(numbers.values()):
        raise ValueError(f"there must be {sum(numbers.values())} words to choose, but only {len(chosen)} are fit.")
    return chosen


def question(entry: Entry, others: Sequence[Entry], place: int) -> dict[str, Any]:
    """Returns the question of an entry, whose other choices are glosses of `others`; `place` makes its draws."""
    fit = [other for other in others if other.pos == entry.pos and not _is_near(entry, other)]
    nearest = sorted(fit, key=lambda other: (abs(len(other.gloss) - len(entry.gloss)), other.word))[:NEAREST]
    draws = generator(SEED, "gloss questions", place)
    choices = [nearest[number].gloss for number in draws.permutation(len(nearest))[: NUM_CHOICES - 1]]
    answer = int(draws.integers(NUM_CHOICES))
    choices.insert(answer, entry.gloss)
    context = question_about(entry.word, entry.pos)
    return {"word": entry.word, "pos": entry.pos, "context": context, "choices": choices, "answer": answer}


def _is_near(entry: Entry, other: Entry) -> bool:
    """Tells whether the other's gloss may be right for the entry, too, or is told by the word in it."""
    related = other.synset == entry.synset or other.synset in entry.kin or entry.synset in other.kin
    stem = entry.word[: max(3, min(STEM, len(entry.word) - 1))]
    return related or any(word.startswith(stem) for word in other.gloss.lower().replace("-", " ").split())


def build(package: Path, folder: Path) -> dict[str, int]:
    """Writes questions and words into the folder; returns {file: number of records}."""
    entries = usable(read_package(package))
    asked = choose(entries, NUM_QUESTIONS)
    trained = choose(entries, NUM_WORDS, taken=asked)
    questions = [question(entry, asked, place) for place, entry in enumerate(asked)]
    words = [_word(entry) for entry in trained]
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in ((QUESTIONS, questions), (WORDS, words)):
        _write(folder / name, records)
    return {QUESTIONS: len(questions), WORDS: len(words)}


def _word(entry: Entry) -> dict[str, Any]:
    record = {"word": entry.word, "pos": entry.pos, "gloss": entry.gloss}
    return record if entry.example is None else {**record, "example": entry.example}


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))  # no time in it: the same input gives the same bytes


def main(write: Callable[[str], object] = print) -> None:
    """Command line: the package and the folder to write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="Debian's wordnet-base, version 3.0-37")
    parser.add_argument("folder", type=Path, help="folder to write, such as assets/glosses")
    arguments = parser.parse_args()
    write(f"{build(arguments.package, arguments.folder)} records")


if __name__ == "__main__":
    main()
