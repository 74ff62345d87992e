"""How well training steps at full size use a GPU: samples per second, peak memory, share of the matmul rate."""

import gc
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ldc.profiling import matmul_rate, peak_memory_gb, spread
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.cases import Case
from ldc.runtime.benchmarks.fitted import How, fit_steps
from ldc.runtime.benchmarks.scaling import scaled
from ldc.runtime.benchmarks.sized import SizedBenchmark, networks

log = logging.getLogger(__name__)
_SAMPLES = 64  # in the cache
_MODES = {"eager": False, "compiled": True}
Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Gpu(SizedBenchmark):
    """conf/benchmark/gpu.yaml says what each setting means."""

    first_batch_size: int
    largest_batch_size: int
    modes: Sequence[str]
    matmul_size: int
    target: float

    name = "gpu"

    def check(self, *, dry_run: bool) -> None:
        """Raises ValueError for settings that cannot be, and where there is no GPU."""
        scaled(self.architecture, self.scale)
        if not 1 <= self.first_batch_size <= self.largest_batch_size:
            raise ValueError(
                f"first_batch_size must be from 1 to largest_batch_size, not {self.first_batch_size} and "
                f"{self.largest_batch_size}."
            )
        if not self.modes or not _MODES.keys() >= set(self.modes):
            raise ValueError(f"modes must be one or both of {', '.join(_MODES)}, not {list(self.modes)}.")
        if self.how_of(1).device != "cuda" or torch.cuda.is_available():
            return
        message = "benchmark=gpu must run on a machine with a CUDA device, and this one has none."
        if not dry_run:
            raise ValueError(message)
        log.warning("A run would stop here: %s", message)

    def describe(self) -> dict[str, Any]:
        """Returns sizes and TFLOP a sample."""
        return {name: self.case(name).describe() for name in self.methods}

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns the description, the matmul rate, every batch size tried, and eager against compiled at the best."""
        device = self.how_of(1).device
        rate = matmul_rate(device, size=self.matmul_size)
        log.info("A %s matmul runs at %.0f TFLOP/s in bfloat16.", device, rate / 1e12)
        rows, tried = [], {}
        for name in self.methods:
            case = self.case(name)
            with tempfile.TemporaryDirectory() as scratch:
                cache = random_cache(Path(scratch) / "cache", case.configs, _SAMPLES).folder
                found, tried[name] = self._best(case, cache, Path(scratch), rate)
                rows += found
        return {"methods": self.describe(), "matmul_tflop_per_second": rate / 1e12, "tried": tried, "rows": rows}

    def _best(self, case: Case, cache: Path, scratch: Path, rate: float) -> tuple[list[Figures], list[Figures]]:
        """Returns each mode at the batch size that is best in the first, or a half of it, and all tried in that one."""
        first, *others = self.modes

        def measure(batch_size: int, mode: str = first) -> Figures:
            how = replace(self.how_of(batch_size), compile=_MODES[mode])
            return self._figures(case, how, cache, scratch / f"fit-{batch_size}-{mode}", rate)

        tried = doubled(measure, self.first_batch_size, self.largest_batch_size)
        best = max(tried, key=lambda figures: figures["samples_per_second"])
        modes = [halved(partial(measure, mode=mode), best["batch_size"]) for mode in others]
        return [best, *chain.from_iterable(modes)], tried

    def _figures(self, case: Case, how: How, cache: Path, folder: Path, rate: float) -> Figures:
        _free()  # else the networks of the measurement before would count in this one's peak
        if how.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        student, teacher = networks(case, how, self.seed)
        laps = fit_steps(case, student, teacher, how, cache=cache, folder=folder, seed=self.seed)
        seconds = spread(laps[how.warmup :])
        samples_per_second = how.batch_size / seconds.median
        share = samples_per_second * 2 * case.step_macs / rate
        figures = {
            "method": case.name,
            "mode": "compiled" if how.compile else "eager",
            "batch_size": how.batch_size,
            "samples_per_second": samples_per_second,
            "step_seconds": seconds.median,
            "low": seconds.low,
            "high": seconds.high,
            "peak_memory_gb": peak_memory_gb(how.device),
            "share_of_matmul_rate": share,
            "met": share >= self.target,
        }
        log.info("%(method)s, %(mode)s, batch %(batch_size)d: %(samples_per_second).2f samples/s", figures)
        return figures


def doubled(measure: Callable[[int], Figures], first: int, largest: int) -> list[Figures]:
    """Returns the figures of batch sizes `first`, 2 x first and so on, until memory ends or `largest` is passed.

    Raises:
        ValueError: not even the first fits.
    """
    found: list[Figures] = []
    size = first
    while size <= largest:
        try:
            found.append(measure(size))
        except torch.OutOfMemoryError as error:
            if not found:
                raise ValueError(f"first_batch_size must fit the device's memory, and {first} does not.") from error
            log.info("A batch of %d does not fit the memory.", size)
            break
        size *= 2
    return found


def halved(measure: Callable[[int], Figures], first: int) -> list[Figures]:
    """Returns the figures of `first`, or of the first of its halves that fits the memory; none where none does."""
    size = first
    while size >= 1:
        try:
            return [measure(size)]
        except torch.OutOfMemoryError:
            log.info("A batch of %d does not fit the memory.", size)
        size //= 2
    return []


def _free() -> None:
    gc.collect()  # networks and optimizers refer to each other in circles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch._dynamo.reset()  # noqa: SLF001 - the only way to drop compiled code and what it refers to
