"""Whether a step at full size fits a machine: seconds and peak memory, with random weights and cached latents."""

import logging
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ldc.profiling import available_memory_gb, params, peak_memory_gb, spread
from ldc.profiling.machine import GB
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.cases import Case
from ldc.runtime.benchmarks.fitted import How, fit_steps
from ldc.runtime.benchmarks.scaling import scaled
from ldc.runtime.benchmarks.sized import SizedBenchmark, networks

log = logging.getLogger(__name__)
_SAMPLES = 16  # in the cache


@dataclass(frozen=True, kw_only=True)
class FullSize(SizedBenchmark):
    """conf/benchmark/full_size.yaml says what each setting means."""

    batch_size: int
    memory_limit_gb: float
    own_process: bool

    name = "full_size"

    def check(self, *, dry_run: bool) -> None:
        """Raises ValueError for settings that cannot be, and where the machine's memory cannot hold the weights."""
        scaled(self.architecture, self.scale)
        self.how_of(self.batch_size)
        free = None if dry_run else available_memory_gb()
        if free is None:
            return
        for name in self.methods:
            needed = state_gb(self.case(name), self.how_of(self.batch_size))
            if needed > free:
                raise ValueError(
                    f"memory must hold {needed:.1f} GiB of weights, gradients and optimizer state for {name}, but "
                    f"{free:.1f} GiB are free."
                )

    def describe(self) -> dict[str, Any]:
        """Returns sizes, TFLOP of a step and the memory that is known without running."""
        cases = {name: self.case(name) for name in self.methods}
        return {
            name: {**case.describe(), "state_gb": state_gb(case, self.how_of(self.batch_size))}
            for name, case in cases.items()
        }

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns the description, and a row for each method, measured in a process of its own."""
        rows = [self._in_own_process(name) if self.own_process else self.measure(name) for name in self.methods]
        return {"methods": self.describe(), "optimizer": "AdamW, moments in the student's float32", "rows": rows}

    def measure(self, name: str) -> dict[str, Any]:
        """Returns the figures of one method; the peak is that of the process that this is called in."""
        case, how = self.case(name), self.how_of(self.batch_size)
        log.info("%s: building networks of %.1f GiB of state.", name, state_gb(case, how))
        with tempfile.TemporaryDirectory() as scratch:
            cache = random_cache(Path(scratch) / "cache", case.configs, _SAMPLES).folder
            student, teacher = networks(case, how, self.seed)
            log.info("%s: %d steps.", name, how.warmup + how.steps)
            laps = fit_steps(case, student, teacher, how, cache=cache, folder=Path(scratch) / "fit", seed=self.seed)
        peak = peak_memory_gb(how.device)
        return {
            "method": name,
            "seconds": spread(laps[how.warmup :]).median,
            "first_step_seconds": laps[0],
            "peak_memory_gb": peak,
            "within_limit": peak <= self.memory_limit_gb,
            "tflop": 2 * case.step_macs * self.batch_size / 1e12,
            "precision": how.precision,
            "teacher_dtype": how.teacher_dtype,
            "batch_size": self.batch_size,
        }

    def _in_own_process(self, name: str) -> dict[str, Any]:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_start_process) as pool:
            try:
                return pool.submit(self.measure, name).result()
            except BrokenProcessPool as error:
                message = f"The process that measured {name} was ended from outside, most likely for its memory."
                raise OSError(message) from error


def state_gb(case: Case, how: How) -> float:
    """Returns the GiB of what is there in every step: weights, gradients, both moments, target and average.

    Activations, and the copies of weights that autocast makes, come on top.
    """
    student, teacher = params(case.student), params(case.teacher)
    copies = 4 + (case.target_decay is not None) + (case.averaging is not None)
    teacher_bytes = 2 if how.teacher_dtype in {"bfloat16", "float16"} else 4
    return (4 * copies * student + teacher_bytes * teacher) / GB


def _start_process() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
