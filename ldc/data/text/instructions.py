"""Instructions with answers: records, the prompt around them, and their tokens with loss on the answer alone.

The recipe is Shortened LLaMA's (Kim et al. 2024, `lora_retrain.py`), which is Alpaca-LoRA's.

Legend: n tokens of one instruction with its answer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldc.data.text.batch import NO_LOSS
from ldc.data.text.glosses import WORDS, gloss_words

FIELDS = ("instruction", "input", "output")


class Instruction(NamedTuple):
    """A task, what it is about ("" where it needs nothing), and the answer."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class Template:
    """The text before an answer; Alpaca's (Taori et al. 2023) by default."""

    with_input: str = (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
    )
    without_input: str = (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:\n"
    )

    def prompt(self, instruction: Instruction) -> str:
        """Returns the text before the answer."""
        text = self.with_input if instruction.input else self.without_input
        # not str.format: an instruction may have braces of its own
        return text.replace("{instruction}", instruction.instruction).replace("{input}", instruction.input)


@dataclass(frozen=True)
class Instructions:
    """Where instructions come from.

    Args:
        path: a json list or jsonl of records with instruction, input (may be left out) and output, as Alpaca's; None
            for what words mean, out of `glosses`.
        glosses: the folder of dictionary glosses (see ldc.data.text.glosses).
        template: {"with_input": text, "without_input": text}; None is Alpaca's.
    """

    path: str | Path | None = None
    glosses: str | Path = "assets/glosses"
    template: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """`instructions`, or `glosses` without a path."""
        return "glosses" if self.path is None else "instructions"

    @property
    def prompts(self) -> Template:
        """The template of the prompts."""
        return Template() if self.template is None else Template(**self.template)

    def check(self) -> None:
        """Raises ValueError when there is no such file, or a template lacks a place; the file is not read."""
        if self.path is not None and not Path(self.path).expanduser().is_file():
            raise ValueError(f"path must be an existing json or jsonl of instructions, not {str(self.path)!r}.")
        if self.path is None and not (Path(self.glosses) / WORDS).is_file():
            raise ValueError(f"glosses must be a folder with {WORDS}, not {str(self.glosses)!r}.")
        prompts = self.prompts
        missing = (
            "{instruction}" not in prompts.with_input + prompts.without_input or "{input}" not in prompts.with_input
        )
        if missing:
            raise ValueError("template must have {instruction} in it, and with_input {input}, too, but it has not.")

    def records(self) -> list[Instruction]:
        """Returns all records, in order.

        Raises:
            ValueError: a file is missing, empty or damaged, or a record lacks a field.
        """
        self.check()
        records = from_glosses(self.glosses) if self.path is None else read_instructions(Path(self.path).expanduser())
        if not records:
            raise ValueError(f"path must hold at least one instruction, but {str(self.path)!r} has none.")
        return records


def from_glosses(folder: Path | str) -> list[Instruction]:
    """Returns questions for what words mean and for phrases with them; no word of the multiple-choice questions."""
    records = []
    for word in gloss_words(folder):
        records.append(Instruction(f'What does the {word.pos} "{word.word}" mean?', "", word.gloss))
        if word.example is not None:
            records.append(
                Instruction(f'Give an example of the use of the {word.pos} "{word.word}".', "", word.example)
            )
    return records


def read_instructions(path: Path) -> list[Instruction]:
    """Returns the records of a json list or a jsonl."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(r) for r in text.splitlines() if r]
    except ValueError as error:
        raise ValueError(f"{path} must be a json list or jsonl of instructions, but it is not: {error}.") from error
    return [_record(row, number, path) for number, row in enumerate(rows, 1)]


def _record(row: Any, number: int, path: Path) -> Instruction:
    values = [row.get(field, "") for field in FIELDS] if isinstance(row, dict) else []
    whole = values and all(isinstance(value, str) for value in values) and values[0].strip() and values[2].strip()
    if not whole:
        raise ValueError(
            f"{path} must have text under instruction and output in each record, but record {number} has not."
        )
    return Instruction(*values)


class InstructionTokens:
    """The tokens of instructions with their answers, and where the answers begin.

    A text is cut at `cutoff` tokens; one that is not cut ends with EOS. One whose answer is cut away as a whole is left
    out.

    Args:
        instructions: records, tokenised here and now.
        tokenizer: of transformers; special tokens are those that it gives a text.
        cutoff: tokens.
        template: of the prompts.

    Raises:
        ValueError: the tokenizer has no EOS, or nothing is left within the cutoff.
    """

    def __init__(self, instructions: Sequence[Instruction], tokenizer: Any, cutoff: int, template: Template):
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer must have an EOS token to end answers, but it has none.")
        if cutoff < 2:  # noqa: PLR2004 - one token to predict, one to predict it from
            raise ValueError(f"the cutoff must be at least 2 tokens, not {cutoff}.")
        eos = tokenizer.eos_token_id
        prompts = [template.prompt(instruction) for instruction in instructions]
        whole = [prompt + instruction.output for prompt, instruction in zip(prompts, instructions, strict=True)]
        ids, self.starts = [], []
        for before, text in zip(_tokenise(tokenizer, prompts), _tokenise(tokenizer, whole), strict=True):
            start = len(before) - (before[-1:] == [eos])  # some tokenizers end every text with it
            if start < cutoff:
                ended = text if text[-1:] == [eos] else [*text, eos]
                ids.append(np.array(ended[:cutoff], np.int32))
                self.starts.append(min(start, len(ids[-1]) - 1))
        self.left_out = len(instructions) - len(ids)
        if not ids:
            raise ValueError(f"an instruction must leave room for its answer within {cutoff} tokens, but none does.")
        self._ids = np.concatenate(ids)
        self._ends = np.cumsum([len(row) for row in ids])

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (ids, labels) of one instruction, (n,) int64 each; labels are NO_LOSS before the answer."""
        end = int(self._ends[number])
        ids = self._ids[int(self._ends[number - 1]) if number else 0 : end].astype(np.int64)
        labels = ids.copy()
        labels[: self.starts[number]] = NO_LOSS
        return ids, labels


def _tokenise(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
