"""Our training step against the official scripts', on networks scaled down with their shares of the work kept.

Both ways run by turns in one process, on the same weights: ours inside a real fit, the reference between its steps.
"""

import copy
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ldc.profiling import Stopwatch, spread
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.cases import Case, build_case, check_ratios
from ldc.runtime.benchmarks.fitted import How, fit_steps
from ldc.runtime.benchmarks.reference import ReferenceConsistency, ReferenceDistillation, ReferenceStep
from ldc.runtime.benchmarks.scaling import encoders, materialised, scaled

log = logging.getLogger(__name__)
_SAMPLES = 64  # in the cache
_LIKE_FOR_LIKE = {"precision": "32-true", "compile": False, "channels_last": False, "teacher_dtype": None}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """conf/benchmark/steps.yaml says what each setting means."""

    architecture: str
    scale: int
    tolerance: float
    target: float
    methods: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    batch_size: int
    warmup: int
    steps: int
    seed: int

    name = "steps"

    def check(self, *, dry_run: bool) -> None:  # noqa: ARG002 - the benchmarks' contract
        """Raises ValueError for settings that cannot be."""
        scaled(self.architecture, self.scale)
        for row in self.rows:
            self._how(row)
        if any(method["averaging"] is None and method["target_decay"] is None for method in self.methods.values()):
            raise ValueError("each method must have an average or a target, as the official scripts do, not neither.")

    def describe(self) -> dict[str, Any]:
        """Returns MACs and bounds, of the networks that are timed and at full size, and how far they are apart."""
        return {name: self._described(*self._cases(name)) for name in self.methods}

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns the description, and a row of figures for each method and setting."""
        rows, described = [], {}
        for name in self.methods:
            case, full = self._cases(name)
            described[name] = self._described(case, full)
            with tempfile.TemporaryDirectory() as scratch:
                cache = random_cache(Path(scratch) / "cache", case.configs, _SAMPLES).folder
                for place, row in enumerate(self.rows):
                    rows.append(self._row(case, row, cache, Path(scratch) / f"fit-{place}"))
        return {"methods": described, "rows": rows}

    def _cases(self, name: str) -> tuple[Case, Case]:
        """Returns the method on the scaled networks and at full size."""
        of_scale = (scaled(self.architecture, scale) for scale in (self.scale, 1))
        case, full = (build_case(name, self.methods[name], configs, self.seed) for configs in of_scale)
        return case, full

    def _described(self, case: Case, full: Case) -> dict[str, Any]:
        relative = check_ratios(case.macs, full.macs, self.tolerance)
        return {"timed": case.describe(), "full_size": full.describe(), "share_relative_to_full_size": relative}

    def _how(self, row: str) -> How:
        return How(**self.rows[row], warmup=self.warmup, steps=self.steps, batch_size=self.batch_size)

    def _row(self, case: Case, row: str, cache: Path, folder: Path) -> dict[str, Any]:
        how = self._how(row)
        log.info("Timing %s, %s: %d steps by turns with the official way.", case.name, row, how.warmup + how.steps)
        torch.manual_seed(self.seed)
        student, teacher = materialised(case.student), materialised(case.teacher)
        reference = reference_step(case, copy.deepcopy(student), copy.deepcopy(teacher), self.seed)
        inputs = _inputs(case, self.batch_size)
        watch = Stopwatch(how.device)

        def reference_turn() -> None:
            watch.start()
            reference.step(*inputs)
            watch.stop()

        seconds = fit_steps(
            case, student, teacher, how, cache=cache, folder=folder, seed=self.seed, between=reference_turn
        )
        return self._figures(case, row, seconds[how.warmup :], watch.laps()[how.warmup :])

    def _figures(self, case: Case, row: str, ours: list[float], reference: list[float]) -> dict[str, Any]:
        own, other = spread(ours), spread(reference)
        turns = spread([b / a for a, b in zip(ours, reference, strict=True)])
        ratio = other.median / own.median
        share = ratio / case.bound
        settings = asdict(self._how(row))
        alike = all(settings[name] == value for name, value in _LIKE_FOR_LIKE.items())
        return {
            "method": case.name,
            "row": row,
            "seconds": own.median,
            "low": own.low,
            "high": own.high,
            "reference_seconds": other.median,
            "reference_low": other.low,
            "reference_high": other.high,
            "ratio": ratio,
            "ratio_low": turns.low,
            "ratio_high": turns.high,
            "bound": case.bound,
            "share_of_bound": share,
            # The bound is that of equal precision; another row has no bound to be held against.
            "met": share >= self.target if alike else None,
        }


def reference_step(case: Case, student: Any, teacher: Any, seed: int) -> ReferenceStep:
    """Returns the official way of a case's step, with encoders of random weights."""
    vae, text_encoder = encoders(case.configs)
    parts: dict[str, Any] = {"vae": vae, "text_encoder": text_encoder, "seed": seed}
    decay = case.target_decay if case.target_decay is not None else case.averaging
    if not case.is_consistency:
        return ReferenceDistillation(case.objective, student, teacher, **parts, decay=decay)
    with torch.no_grad():
        empty_text = text_encoder(_tokens(case, 1))[0]
    return ReferenceConsistency(case.objective, student, teacher, **parts, decay=decay, empty_text=empty_text)


def _inputs(case: Case, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    side = case.configs.vae["sample_size"]
    return torch.rand(batch_size, 3, side, side) * 2 - 1, _tokens(case, batch_size)  # (B, 3, S, S), (B, L)


def _tokens(case: Case, batch_size: int) -> torch.Tensor:
    text = case.configs.text_encoder
    return torch.randint(0, text["vocab_size"], (batch_size, text["max_position_embeddings"]))
