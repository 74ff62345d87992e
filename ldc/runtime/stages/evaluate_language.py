"""The stage that judges language models: each on the same held-out text, questions and protocol of generation."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.artifacts import FILE
from ldc.models.language import (
    LanguageModel,
    check_language_teacher,
    load_language_student,
    load_language_teacher,
    meta_language_model,
)
from ldc.profiling import GenerationProtocol, time_generation
from ldc.runtime.chain import Context, Result
from ldc.runtime.checks import check_texts, check_whole
from ldc.runtime.devices import device_of
from ldc.runtime.language_evaluation import (
    LanguageQuality,
    continuations,
    held_out,
    size_of,
    speed_stamp,
)
from ldc.runtime.language_origin import origin
from ldc.runtime.language_report import compare_with_parent, write_report
from ldc.runtime.teachers import language_spec, teacher_identity
from ldc.runtime.texts import check_held_out

log = logging.getLogger(__name__)
TEACHER = "teacher"
SETTING = {"model", "method"}


@dataclass(frozen=True)
class EvaluateLanguage:
    """Measures `settings` {label: {model, method}}; conf/stages/evaluate_language.yaml says what each setting means."""

    teacher: Any
    data: DictConfig
    settings: Mapping[str, Mapping[str, Any]]
    quality: Any
    protocol: Any
    texts: Sequence[str] | None = None
    timed: Sequence[str] | None = None
    by_turns: bool = True
    prompts: Sequence[str] = ()
    max_new_tokens: int = 40
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "language_evaluation"
    trains = False

    def inputs(self) -> list[str]:
        return list(dict.fromkeys(s["model"] for s in self.settings.values() if s["model"] != TEACHER))

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        spec = language_spec(self.teacher)
        check_language_teacher(spec)
        check_held_out(self.data, self.texts or (), "texts")
        self._quality.check()
        self._quality.check_tokenizer(spec)
        check_texts({"prompts": list(self.prompts)}, "prompts")
        check_whole({"max_new_tokens": self.max_new_tokens}, "max_new_tokens")
        for label, setting in self.settings.items():
            if set(setting) - SETTING or "model" not in setting:
                raise ValueError(f"Setting {label!r} must have model and perhaps method, not {', '.join(setting)}.")
        unknown = [label for label in self.timed or () if label not in self.settings]
        if unknown:
            raise ValueError(f"timed must name settings ({', '.join(self.settings)}), not {unknown[0]!r}.")
        if self._timed:
            self._protocol.check()

    def run(self, context: Context) -> Result:
        texts = held_out(self.data, self.texts, self.loader["cache"])
        questions = self._quality.read_questions()
        rows, samples = [], {}
        for label in self.settings:
            content = self._kept(context, label, [label]).once(
                lambda label=label: self._row(context, label, texts, questions)
            )
            rows.append(content["row"])
            samples[label] = content["samples"]
        speeds = self._speeds(context)
        rows = self._against_parent(rows)
        quantised = origin(language_spec(self.teacher)).quantised
        rows = write_report(rows, speeds, samples, list(self.prompts), context.folder, quantised)
        flat = {f"{r['model']}/{key}": value for r in rows for key, value in r.items() if type(value) in {int, float}}
        return Result(metrics={"table": rows, "speeds": speeds, "parent_quantised": quantised, **flat})

    def _row(self, context: Context, label: str, texts: Mapping[str, Any], questions: Sequence[Any]) -> dict[str, Any]:
        model = self._load(context, label, self._quality.torch_dtype, device_of(self.loader["device"]))
        row = {"model": label, "method": self.settings[label].get("method") or label, **size_of(model)}
        row |= self._quality.row(model, texts, questions)
        return {"row": row, "samples": continuations(model, list(self.prompts), self.max_new_tokens)}

    def _against_parent(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        parent = size_of(LanguageModel(meta_language_model(language_spec(self.teacher)), None, None))
        is_parent = {label: setting["model"] == TEACHER for label, setting in self.settings.items()}
        return [compare_with_parent(row, parent, is_parent=is_parent[row["model"]]) for row in rows]

    def _speeds(self, context: Context) -> list[dict[str, Any]]:
        """Returns a row for each timed model and each (M, L), by turns or one model after another."""
        rows: list[dict[str, Any]] = []
        groups = [self._timed] if self.by_turns else [[label] for label in self._timed]
        for labels in filter(None, groups):
            models: dict[str, LanguageModel] = {}  # loaded where a measurement is missing
            for cell in self._protocol.cells():
                name = f"{'by turns' if self.by_turns else labels[0]} M {cell[0]} L {cell[1]}"
                kept = self._kept(context, name, labels)
                rows += kept.once(
                    lambda cell=cell, labels=labels, models=models: self._time(context, labels, models, cell)
                )
        return rows

    def _time(
        self, context: Context, labels: Sequence[str], models: dict[str, LanguageModel], cell: tuple[int, int]
    ) -> list[dict[str, Any]]:
        protocol = self._protocol
        for label in labels:
            if label not in models:
                models[label] = self._load(context, label, protocol.torch_dtype, torch.device(protocol.device))
        prompts = {label: protocol.prompt_ids(model.tokenizer) for label, model in models.items()}
        plain = {label: model.model for label, model in models.items()}
        found = time_generation(plain, prompts, protocol, *cell, progress=True)
        stamp = speed_stamp(protocol, by_turns=len(labels) > 1)
        return [{"model": label, **figures, "stamp": stamp} for label, figures in found.items()]

    def _load(self, context: Context, label: str, dtype: torch.dtype, device: torch.device) -> LanguageModel:
        name = self.settings[label]["model"]
        if name == TEACHER:
            found = load_language_teacher(replace(language_spec(self.teacher), dtype=str(dtype).removeprefix("torch.")))
        else:
            found = load_language_student(context.inputs[name].folder, dtype)
        # In that precision already: `to` with a dtype would round the rotary frequencies, too.
        return found._replace(model=found.model.to(device).eval())

    def _kept(self, context: Context, name: str, labels: Sequence[str]) -> "_Kept":
        return _Kept(context.folder / "measured", name, [self._version(context, label) for label in labels])

    def _version(self, context: Context, label: str) -> str:
        """Tells a model that was made anew, under the same id, from the one that was measured."""
        name = self.settings[label]["model"]
        if name == TEACHER:
            return TEACHER
        artifact = context.inputs[name]
        return f"{artifact.id} {(artifact.folder / FILE).stat().st_mtime_ns}"

    @cached_property
    def _quality(self) -> LanguageQuality:
        return instantiate(self.quality)

    @cached_property
    def _protocol(self) -> GenerationProtocol:
        return instantiate(self.protocol)

    @cached_property
    def _timed(self) -> list[str]:
        return list(self.settings if self.timed is None else self.timed)


@dataclass(frozen=True)
class _Kept:
    """One measurement in a file of its own, written once made: an interrupted evaluation goes on after it."""

    folder: Path
    name: str
    version: Any

    def once(self, measure: Any) -> Any:
        """Returns what the file holds of this version, else what `measure()` returns, and writes it."""
        path = self.folder / f"{''.join(c if c.isalnum() else '-' for c in self.name)}.json"
        head = [self.name, self.version]
        if path.is_file() and (content := json.loads(path.read_text()))["of"] == head:
            log.info("%s: measured before.", self.name)
            return content["found"]
        log.info("Measuring %s.", self.name)
        found = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"of": head, "found": found}, indent=2))
        temporary.replace(path)
        return found
