"""What checkpoints and the polling for signals cost: the same fit with both and without, by turns in one run."""

import json
import logging
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ldc.data.module import LatentDataModule
from ldc.profiling import spread
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.cases import Case, build_case
from ldc.runtime.benchmarks.fitted import GRADIENT_CLIP, LEARNING_RATE
from ldc.runtime.benchmarks.scaling import materialised, scaled
from ldc.training import DistillationModule, GuardTimes, StepTimes, adamw, fit

log = logging.getLogger(__name__)
_SAMPLES = 64  # in the cache
_FIGURES = "figures.json"


@dataclass(frozen=True, kw_only=True)
class Resilience:
    """conf/benchmark/resilience.yaml says what each setting means."""

    architecture: str
    scale: int
    methods: Mapping[str, Any]
    method: str
    batch_size: int
    processes: int
    every: int
    turns: int
    target: float
    seed: int

    name = "resilience"

    def check(self, *, dry_run: bool) -> None:  # noqa: ARG002 - the benchmarks' contract
        """Raises ValueError for settings that cannot be."""
        scaled(self.architecture, self.scale)
        for name in ("batch_size", "processes", "every", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.method not in self.methods:
            raise ValueError(f"method must be one of {', '.join(self.methods)}, not {self.method!r}.")

    def describe(self) -> dict[str, Any]:
        """Returns sizes, and what is timed."""
        return {**self._case().describe(), "processes": self.processes, "every": self.every, "turns": self.turns}

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns a row for each way, and the shares of what the guarded fit adds, measured inside it."""
        case = self._case()
        found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        with tempfile.TemporaryDirectory() as scratch:
            cache = random_cache(Path(scratch) / "cache", case.configs, _SAMPLES).folder
            for turn in range(self.turns):
                for guarded in (True, False):
                    found[guarded].append(self._turn(case, cache, Path(scratch) / f"{turn}-{guarded}", guarded))
                    log.info("turn %d of %d, guarded %s: %s", turn + 1, self.turns, guarded, found[guarded][-1])
        return {**self.describe(), **self._summary(found[True], found[False])}

    def _summary(self, guarded: list[dict[str, Any]], bare: list[dict[str, Any]]) -> dict[str, Any]:
        rows: list[dict[str, Any]] = [
            {
                "way": way,
                **dict(zip(("seconds", "low", "high"), spread([turn["seconds"] for turn in turns]), strict=True)),
            }
            for way, turns in (("checkpoints and polling", guarded), ("neither", bare))
        ]
        shares = {
            name: statistics.median(turn[name] / turn["total"] for turn in guarded) for name in ("polling", "saving")
        }
        overhead = rows[0]["seconds"] / rows[1]["seconds"] - 1
        return {
            "rows": rows,
            "overhead": overhead,  # the difference of two noisy times; the shares are measured themselves
            "polling_share": shares["polling"],
            "saving_share": shares["saving"],
            "polling_microseconds": 1e6 * statistics.median(turn["poll"] for turn in guarded),
            "save_seconds": statistics.median(turn["saving"] for turn in guarded),
            "target": self.target,
            "met": sum(shares.values()) <= self.target,
        }

    def _case(self) -> Case:
        return build_case(self.method, self.methods[self.method], scaled(self.architecture, self.scale), self.seed)

    def _turn(self, case: Case, cache: Path, folder: Path, guarded: bool) -> dict[str, Any]:
        """Returns a fit's seconds: of a step, of all steps, and of what guards them."""
        module = DistillationModule(
            case.objective,
            materialised(case.student),
            materialised(case.teacher),
            optimizer=partial(adamw, lr=LEARNING_RATE),
            target_decay=case.target_decay,
        )
        devices: dict[str, Any] = (
            {"devices": 1} if self.processes == 1 else {"devices": self.processes, "strategy": "ddp_fork"}
        )
        times = StepTimes(self.every + 1)  # a step's hooks fall into the next lap
        fit(
            module,
            LatentDataModule(cache, self.batch_size, self.seed),
            folder=folder,
            max_steps=self.every + 2,  # so that it ends without a checkpoint of its own
            checkpoint_every_n_steps=self.every,
            gradient_clip_val=GRADIENT_CLIP,
            accelerator="cpu",
            callbacks=[GuardTimes(folder / _FIGURES, times, guarded=guarded), times],
            progress=False,
            **devices,
        )
        return json.loads((folder / _FIGURES).read_text())
