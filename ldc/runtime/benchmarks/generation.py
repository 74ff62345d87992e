"""How fast language models generate text: latency, throughput and memory by a protocol, models by turns."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from ldc.evaluation.language.dot_chart import SAME
from ldc.evaluation.language.speed_plot import save_speeds
from ldc.models.language import LanguageModel
from ldc.profiling import GenerationProtocol, time_generation
from ldc.runtime.checks import check_device
from ldc.runtime.language_evaluation import size_of, speed_stamp
from ldc.runtime.language_models import FoundLanguageModel, find_language_model

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """conf/benchmark/generation.yaml says what each setting means."""

    students: Sequence[Any]
    protocol: Any
    device: str | None
    by_turns: bool

    name = "generation"

    def check(self, *, dry_run: bool) -> None:
        """Raises ValueError for students that are no language models, and where the protocol cannot run here."""
        if not self._found:
            raise ValueError("student must be a language model for benchmark=generation, and none is given.")
        if self.device is not None:
            check_device(self.device)
        try:
            self._protocol.check()
        except ValueError as error:
            if not dry_run:
                raise
            log.warning("A run would stop here: %s", error)

    def describe(self) -> dict[str, Any]:
        """Returns the protocol and the students."""
        told = {name: value for name, value in vars(self._protocol).items() if type(value) in {int, float, str, bool}}
        sizes = {"batch_sizes": list(self._protocol.batch_sizes), "new_tokens": list(self._protocol.new_tokens)}
        return {"protocol": told | sizes, "students": list(self._found)}

    def run(self, folder: Path) -> dict[str, Any]:
        """Returns the description and a row for each model and (M, L); draws the speeds."""
        rows: list[dict[str, Any]] = []
        for names in [list(self._found)] if self.by_turns else [[name] for name in self._found]:
            models = {name: self._load(name) for name in names}
            for cell in self._protocol.cells():
                rows += self._time(models, *cell)
        if any(row.get("tokens_per_second") for row in rows):
            save_speeds([{**row, "kind": SAME} for row in rows], folder / "speed.png")
        return {**self.describe(), "stamp": speed_stamp(self._protocol, by_turns=self.by_turns), "rows": rows}

    def _time(self, models: dict[str, LanguageModel], batch_size: int, new_tokens: int) -> list[dict[str, Any]]:
        prompts = {name: self._protocol.prompt_ids(model.tokenizer) for name, model in models.items()}
        plain = {name: model.model for name, model in models.items()}
        found = time_generation(plain, prompts, self._protocol, batch_size, new_tokens, progress=True)
        for name, figures in found.items():
            rate = figures.get("tokens_per_second")
            told = figures["note"] if rate is None else f"{rate:.1f} tokens/s"
            log.info("%s, M %d, L %d: %s.", name, batch_size, new_tokens, told)
        return [{"model": name, **size_of(models[name]), **figures} for name, figures in found.items()]

    def _load(self, name: str) -> LanguageModel:
        return self._found[name].load(self._protocol.device, self._protocol.torch_dtype)

    @cached_property
    def _found(self) -> dict[str, FoundLanguageModel]:
        found = {name: find_language_model(name) for name in self.students if name is not None}
        for name, model in found.items():
            if model is None:
                raise ValueError(f"student must be a language model for benchmark=generation, not {name!r}.")
        return {name: model for name, model in found.items() if model is not None}

    @cached_property
    def _protocol(self) -> GenerationProtocol:
        protocol: GenerationProtocol = instantiate(self.protocol)
        return protocol if self.device is None else replace(protocol, device=str(torch.device(self.device)))
