"""What is measured of a language model, for the stage and for `ldc.evaluate`: quality, size, one row a model."""

import gzip
import json
import logging
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ldc.data.text.calibration import fingerprint
from ldc.evaluation.language import (
    Question,
    accuracy,
    measure,
    questions_of,
    zero_shot_or_not,
)
from ldc.evaluation.language.perplexity import BOS, EVERY, text_windows
from ldc.models.language import LanguageModel, LanguageTeacher, continue_texts, load_language_tokenizer
from ldc.profiling import GenerationProtocol, machine, params
from ldc.runtime.checks import check_whole
from ldc.runtime.paths import cache_folder, locate
from ldc.runtime.texts import text_source

log = logging.getLogger(__name__)
DTYPES = ("float32", "bfloat16", "float16")
_MB = 10**6
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
_SUFFIX = {EVERY: " (BOS each)"}


@dataclass(frozen=True)
class LanguageQuality:
    """What of a model's quality is measured; conf/stages/evaluate_language.yaml says what each setting means."""

    bos: Sequence[str]
    window: int
    windows: int | None
    batch_size: int
    questions: str | None
    num_questions: int | None
    questions_batch_size: int
    harness: bool
    harness_limit: int | None
    dtype: str

    def check(self) -> None:
        """Raises ValueError for a setting that cannot be."""
        settings = vars(self)
        unknown = [bos for bos in self.bos if bos not in BOS]
        if unknown or not self.bos:
            raise ValueError(f"quality.bos must be one or both of {', '.join(BOS)}, not {list(self.bos)}.")
        check_whole(settings, "batch_size", "questions_batch_size")
        check_whole(settings, "window", least=2)
        check_whole(settings, "windows", "harness_limit", optional=True)
        check_whole(settings, "num_questions", least=0, optional=True)
        if self.dtype not in DTYPES:
            raise ValueError(f"quality.dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}.")
        self.read_questions()

    def check_tokenizer(self, spec: LanguageTeacher) -> None:
        """Checks the tokenizer of a model whose folder is there; that of one to be fetched is checked when it is read.

        Raises:
            ValueError: there is none, or it has no BOS token where one is to stand before every window.
        """
        if spec.weights == "random" or not Path(spec.path_or_id).expanduser().is_dir():
            return
        self._check_bos(load_language_tokenizer(spec))

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def read_questions(self) -> list[Question]:
        """Returns the questions, none where no file is named."""
        return question_set(self.questions, self.num_questions)

    def row(
        self, model: LanguageModel, texts: Mapping[str, Sequence[str]], questions: Sequence[Question]
    ) -> dict[str, Any]:
        """Returns perplexities by the text's name, accuracy with its interval, and a stamp of what was read.

        Raises:
            ValueError: the model has no tokenizer, or its tokenizer none of the tokens that a convention needs.
        """
        if model.tokenizer is None:
            raise ValueError("A model must have a tokenizer to be evaluated on text, but this one has none.")
        self._check_bos(model.tokenizer)
        figures: dict[str, Any] = {}
        read: dict[str, str] = {}
        for name, documents in texts.items():
            for bos in self.bos:
                key = f"ppl {name}{_SUFFIX.get(bos, '')}"
                found = self._perplexity(model, documents, bos, key)
                figures[key], read[key] = found.value, found.ids
        if questions:
            found = accuracy(
                model.model, model.tokenizer, questions, batch_size=self.questions_batch_size, title="questions"
            )
            figures |= {"acc": found.acc.value, "acc low": found.acc.low, "acc high": found.acc.high}
            figures |= {"acc_norm": found.acc_norm.value, "chance": found.chance}
            read["questions"] = found.ids
        if self.harness:
            figures |= zero_shot_or_not(
                model.model, model.tokenizer, batch_size=self.questions_batch_size, limit=self.harness_limit
            )
        where = {"device": str(model.model.device), **where_measured()}
        return {**figures, "stamp": {"ids": read, "dtype": self.dtype, "window": self.window, **where}}

    def texts_read(self, model: LanguageModel, texts: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Returns the fingerprints of the token ids that `row` will read of texts, before any pass of the model."""
        sizes = {"window": self.window, "most": self.windows}
        return {
            f"ppl {name}{_SUFFIX.get(bos, '')}": fingerprint(text_windows(documents, model.tokenizer, bos=bos, **sizes))
            for name, documents in texts.items()
            for bos in self.bos
        }

    def _check_bos(self, tokenizer: Any) -> None:
        if tokenizer.bos_token_id is None and EVERY in self.bos:
            raise ValueError(
                f"quality.bos must be [first] for a tokenizer without a BOS token, not [{', '.join(self.bos)}]."
            )

    def _perplexity(self, model: LanguageModel, documents: Sequence[str], bos: str, title: str) -> Any:
        sizes = {"window": self.window, "most": self.windows, "batch_size": self.batch_size}
        return measure(model.model, model.tokenizer, documents, bos=bos, **sizes, title=title)


def is_text(config: Any) -> bool:
    """Tells whether a `data` group's config is one of texts."""
    return str(config.get("source", {}).get("_target_", "")).startswith("ldc.data.text.")


def held_out(config: Any, names: Sequence[str] | None, cache: str | None) -> dict[str, list[str]]:
    """Returns the held-out documents of a `data` group's config by their source's name, of `names` or of all.

    Raises:
        ValueError: nothing is held out, or a name is none of the data's.
    """
    from ldc.data.text.reading import held_out_texts  # noqa: PLC0415 - of use to language models alone

    texts = held_out_texts(text_source(config), cache_folder(cache))
    unknown = [name for name in names or () if name not in texts]
    if unknown:
        raise ValueError(f"texts must name held-out texts of the data ({', '.join(texts)}), not {unknown[0]!r}.")
    return {name: documents for name, documents in texts.items() if names is None or name in names}


def size_of(model: LanguageModel) -> dict[str, Any]:
    """Returns {"params", "blocks", "MB"}: megabytes of its weight files, or in memory where it has no folder."""
    files = (
        [] if model.folder is None else [*Path(model.folder).glob("*.safetensors"), *Path(model.folder).glob("*.bin")]
    )
    size = sum(path.stat().st_size for path in files) or sum(tensor.nbytes for tensor in model.model.parameters())
    return {"params": params(model.model), "blocks": len(model.model.model.layers), "MB": round(size / _MB, 1)}


def continuations(model: LanguageModel, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
    """Returns the greedy continuation of each prompt."""
    return continue_texts(model.model, model.tokenizer, prompts, max_new_tokens=max_new_tokens)


def where_measured() -> dict[str, Any]:
    """Returns processor, threads and GPU, for stamps."""
    here = machine()
    return {name: here[name] for name in ("cpu", "threads", "gpu")}


def speed_stamp(protocol: GenerationProtocol, *, by_turns: bool) -> dict[str, Any]:
    """Returns what decides a speed beside the model: the protocol, the precision, the machine and its load."""
    told = {name: getattr(protocol, name) for name in ("name", "device", "dtype", "runs", "discarded", "sample")}
    return {**told, "by_turns": by_turns, **where_measured(), "load": machine()["load"]}


def question_set(path: str | None, count: int | None) -> list[Question]:
    """Returns the first `count` questions of a file, all where it is None; none without a file.

    Args:
        path: lines of JSON {"context", "choices", "answer"}, perhaps compressed (.gz, .xz).
        count: of the questions.

    Raises:
        ValueError: there is no such file, or it is not of this form.
    """
    if path is None or count == 0:
        return []
    file = Path(locate(path))
    if not file.is_file():
        raise ValueError(f"questions must be a file of JSON lines, not {path!r}.")
    try:
        with _OPENERS.get(file.suffix, open)(file, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        return questions_of(rows)[:count]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        rule = "must have lines of JSON with context, choices and answer"
        raise ValueError(f"{path} {rule}, but reading it failed: {error!r}.") from error
