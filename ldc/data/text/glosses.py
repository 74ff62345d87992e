"""The shipped dictionary glosses: multiple-choice questions, and other words to train on.

`ldc.data.builders.glosses` makes the files and says what they hold.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTIONS = "questions.jsonl.gz"
WORDS = "words.jsonl.gz"


@dataclass(frozen=True)
class GlossQuestion:
    """A word and four definitions of its part of speech; `choices[answer]` is that of its most frequent sense."""

    word: str
    pos: str  # noun | verb | adjective | adverb
    context: str  # what a model reads before a choice, apart from the space between: `question_about`
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class GlossWord:
    """A word to train on: its definition, and a phrase with it where WordNet has one."""

    word: str
    pos: str
    gloss: str
    example: str | None = None


def question_about(word: str, pos: str) -> str:
    """Returns the question for a word's meaning, up to where the answer begins."""
    return f'Question: What does the {pos} "{word}" mean?\nAnswer:'


def gloss_questions(folder: Path | str) -> list[GlossQuestion]:
    """Returns the questions of a folder of glosses.

    Raises:
        ValueError: the folder has none, or the file is damaged.
    """
    return [
        GlossQuestion(record["word"], record["pos"], record["context"], tuple(record["choices"]), record["answer"])
        for record in _records(folder, QUESTIONS)
    ]


def gloss_words(folder: Path | str) -> list[GlossWord]:
    """Returns the words to train on of a folder of glosses.

    Raises:
        ValueError: the folder has none, or the file is damaged.
    """
    return [GlossWord(**record) for record in _records(folder, WORDS)]


def _records(folder: Path | str, name: str) -> Iterator[dict[str, Any]]:
    path = Path(folder) / name
    if not path.is_file():
        raise ValueError(f"glosses must be a folder with {name}, not {str(folder)!r}.")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} must be lines of JSON, compressed by gzip, but it is damaged: {error}.") from error
