"""The data path alone: samples per second out of cached latents, and the time to start at any place of the stream."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldc.data import latents
from ldc.data.encoded import Encoded
from ldc.data.module import LatentDataModule
from ldc.profiling import Stopwatch, spread
from ldc.runtime.benchmarks.cache import random_cache, shapes
from ldc.runtime.benchmarks.scaling import scaled
from ldc.training import first_batches

log = logging.getLogger(__name__)
_ALL = 2**31  # megabytes: any cache is read into memory


@dataclass(frozen=True, kw_only=True)
class Data:
    """conf/benchmark/data.yaml says what each setting means."""

    folder: str | None
    architecture: str
    scale: int
    samples: int
    samples_per_shard: int
    batch_size: int
    batches: int
    num_workers: Sequence[int]
    positions: Sequence[int]
    repeats: int
    seed: int

    name = "data"

    def check(self, *, dry_run: bool) -> None:  # noqa: ARG002 - the benchmarks' contract
        """Raises ValueError for settings that cannot be, and for a folder that holds no finished cache."""
        for name in ("samples", "samples_per_shard", "batch_size", "batches", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not self.num_workers or not self.positions or min(*self.num_workers, *self.positions) < 0:
            raise ValueError("num_workers and positions must be lists of numbers from 0, and not empty.")
        if self.folder is not None:
            Encoded(self.folder)
        scaled(self.architecture, self.scale)

    def describe(self) -> dict[str, Any]:
        """Returns what will be read."""
        if self.folder is not None:
            return _described(Encoded(self.folder))
        latent, text = shapes(scaled(self.architecture, self.scale))
        return {"samples": self.samples, "latent_shape": latent, "text_shape": text}

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns rows of samples per second, and the seconds to the first sample at each position."""
        with self._cache() as encoded, _quiet_readers():
            readers = [("indexed shards", 0, workers) for workers in self.num_workers]
            rows = [self._rate(encoded.folder, *reader) for reader in [*readers, ("memory", _ALL, 0)]]
            seeks = self._seeks(encoded.folder)
            for seek in seeks:
                log.info("Opened at position %(position)d: first sample after %(seconds).4f s.", seek)
            return {"cache": _described(encoded), "rows": rows, "seeks": seeks}

    @contextlib.contextmanager
    def _cache(self) -> Iterator[Encoded]:
        if self.folder is not None:
            yield Encoded(self.folder)
            return
        with tempfile.TemporaryDirectory() as scratch:
            configs = scaled(self.architecture, self.scale)
            yield random_cache(Path(scratch), configs, self.samples, self.samples_per_shard)

    def _rate(self, folder: Path, reading: str, memory_limit_mb: int, num_workers: int) -> dict[str, Any]:
        """Times whole runs over `batches` batches, of which the first, which starts the workers, does not count."""
        log.info("Reading from %s with %d workers.", reading, num_workers)
        data = LatentDataModule(
            folder, self.batch_size, self.seed, num_workers=num_workers, memory_limit_mb=memory_limit_mb
        )
        watch = Stopwatch()
        for _ in range(self.repeats):
            batches = iter(first_batches(data, self.batches + 1))
            next(batches)
            watch.start()
            for _ in batches:
                pass
            watch.stop()
        seconds = spread(watch.laps())
        median, low, high = (
            self.batches * self.batch_size / lap for lap in (seconds.median, seconds.high, seconds.low)
        )
        return {
            "reading": reading,
            "workers": num_workers,
            "samples_per_second": median,
            "low": low,
            "high": high,
        }

    def _seeks(self, folder: Path) -> list[dict[str, Any]]:
        """Times opening the cache at a position of the endless stream, up to its first sample.

        The positions take turns, so that what the machine does meanwhile meets all of them.
        """
        data = LatentDataModule(folder, 1, self.seed, memory_limit_mb=0)
        first_batches(data, 1)  # attaches the data to a trainer
        watches = {position: Stopwatch() for position in self.positions}
        for _ in range(self.repeats + 1):
            for position, watch in watches.items():
                watch.start()
                next(iter(data.loader(position, 0, 1)))
                watch.stop()
        laps = {position: spread(watch.laps()[1:]) for position, watch in watches.items()}
        return [
            {"position": position, "seconds": lap.median, "low": lap.low, "high": lap.high}
            for position, lap in laps.items()
        ]


@contextlib.contextmanager
def _quiet_readers() -> Iterator[None]:
    """Leaves out what a reader says when it opens a cache, which is done many times here."""
    readers = logging.getLogger(latents.__name__)
    level = readers.level
    readers.setLevel(logging.WARNING)
    try:
        yield
    finally:
        readers.setLevel(level)


def _described(encoded: Encoded) -> dict[str, Any]:
    kept = {name: encoded.manifest[name] for name in ("samples", "latent_shape", "text_shape")}
    size = sum(tar.stat().st_size for tar in encoded.tars)
    return {**kept, "shards": len(encoded.tars), "megabytes": size / 2**20}
