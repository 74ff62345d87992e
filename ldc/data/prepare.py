"""Makes data ready for encoding and training: source -> tars, checked, filtered and counted, with a report."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ldc.data.cache import default_cache, make_once
from ldc.data.filters import Filters
from ldc.data.report import SkipReport
from ldc.data.samples import RawSample, SkippedSampleError
from ldc.data.sharded import ShardedSamples
from ldc.data.sources import Source, SourceTars
from ldc.data.transforms import decode

FILE = "prepared.json"
REPORT = "report.json"
SCHEMA = 1
CHUNK = 256  # images decoded at a time
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What `prepare_data` made, and `prepared.json` says.

    `counts`: {split: usable samples, None when streaming}, "filtered": {reason: count}, "skipped": {reason: count}.
    """

    folder: Path  # holds prepared.json and report.json; the tars may stand elsewhere
    train: Sequence[Path | str]  # tars; URLs or `pipe:` commands when streaming
    held_out: Mapping[str, Sequence[Path]]
    counts: Mapping[str, Any]
    filters: Filters | None = None
    excluded: Sequence[str] = ()  # keys whose image does not decode
    streaming: bool = False
    cache: Path | None = None

    def samples(self, split: str = "train") -> ShardedSamples:
        """Returns the usable samples of "train" or of a held-out split. Damage was reported, so it is passed over.

        Raises:
            ValueError: there is no such split, or it is streamed.
        """
        if split == "train" and self.streaming:
            raise ValueError("the train split is streamed, so it has no numbered samples; use reader=indexed.")
        splits = {"train": self.train, **self.held_out}
        if split not in splits:
            raise ValueError(f"split must be one of {', '.join(splits)}, not {split!r}.")
        report = SkipReport(limit=1.0)
        filters = self.filters if split == "train" else None
        return ShardedSamples(splits[split], filters, exclude=self.excluded, report=report, cache=self.cache)


def prepare_data(
    source: Source,
    cache: Path | None = None,
    *,
    filters: Filters | None = None,
    max_skipped: float = 0.1,
    check_images: bool = True,
) -> Prepared:
    """Returns the prepared data; a second call with the same inputs does nothing.

    Args:
        source: where the samples come from.
        cache: folder for tars, copies and indexes; None is the default cache.
        filters: which training samples to leave out; held-out samples are never filtered.
        max_skipped: largest allowed share of damaged samples, 0 to 1.
        check_images: decode every image, so that the report names the corrupt ones; when off, they show at encoding.

    Raises:
        ValueError: an input is missing, or too many samples are damaged. The sentence is made for users.
    """
    source.check()
    cache = (cache or default_cache()).absolute()
    report = SkipReport(max_skipped)
    tars = source.resolve(cache, report)
    if not tars.train:
        raise ValueError(f"the source {source.name} must have training samples, but all of it is held out or damaged.")
    folder = cache / "prepared" / f"{source.name}-{_state(tars, filters, check_images)}"
    build = partial(_build, tars=tars, filters=filters, report=report, cache=cache, check_images=check_images)
    make_once(folder, build)
    SkipReport.read(folder / REPORT, max_skipped).check()  # made under another limit, maybe
    prepared = load_prepared(folder)
    log.info("prepared %s: %s", folder, prepared.counts)
    return prepared


def load_prepared(folder: Path | str) -> Prepared:
    """Returns what `prepare_data` left in a folder.

    Raises:
        ValueError: the folder holds no `prepared.json`.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"prepared data must be a folder with {FILE}, not {str(folder)!r}.")
    content = json.loads(path.read_text())
    streaming = content["streaming"]
    return Prepared(
        folder=Path(folder),
        train=content["train"] if streaming else [Path(tar) for tar in content["train"]],
        held_out={name: [Path(tar) for tar in paths] for name, paths in content["held_out"].items()},
        counts=content["counts"],
        filters=Filters(**content["filters"]) if content["filters"] else None,
        excluded=content["excluded"],
        streaming=streaming,
        cache=Path(content["cache"]),
    )


def _state(tars: SourceTars, filters: Filters | None, check_images: bool) -> str:
    """Returns 8 hex digits for the tars (path, size, modification time) and how they are treated."""
    local = [tar for paths in _local_splits(tars).values() for tar in paths]
    stamps = [(tar, Path(tar).stat().st_size, Path(tar).stat().st_mtime_ns) for tar in local]
    treatment = [SCHEMA, asdict(filters) if filters else None, check_images]
    return hashlib.sha256(json.dumps([treatment, asdict(tars), stamps]).encode()).hexdigest()[:8]


def _local_splits(tars: SourceTars) -> dict[str, Sequence[str]]:
    return {**({} if tars.streaming else {"train": tars.train}), **tars.held_out}


def _build(
    folder: Path, *, tars: SourceTars, filters: Filters | None, report: SkipReport, cache: Path, check_images: bool
) -> None:
    counts: dict[str, Any] = {}
    filtered: dict[str, int] = {}
    excluded: list[str] = []
    if tars.streaming:
        counts["train"] = None
    for split, paths in _local_splits(tars).items():
        samples = ShardedSamples(paths, filters if split == "train" else None, report=report, cache=cache)
        corrupt = [] if tars.checked or not check_images else _corrupt_images(samples, report)
        report.check()
        counts[split] = len(samples) - len(corrupt)
        excluded += corrupt
        filtered |= samples.filtered
    counts |= {"filtered": filtered, "skipped": dict(report.counts)}
    content = {
        "schema": SCHEMA,
        **asdict(tars),
        "counts": counts,
        "filters": asdict(filters) if filters else None,
        "excluded": excluded,
        "cache": str(cache),
    }
    report.write(folder / REPORT)
    (folder / FILE).write_text(json.dumps(content, indent=2) + "\n")


def _corrupt_images(samples: ShardedSamples, report: SkipReport) -> list[str]:
    """Returns the keys of images that do not decode, and moves them in the report from kept to skipped."""
    corrupt = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(samples), CHUNK):
            chunk = [samples.sample(number) for number in range(start, min(start + CHUNK, len(samples)))]
            for skipped in filter(None, pool.map(_damage, chunk)):
                report.drop(skipped.reason, skipped.name)
                corrupt.append(skipped.name)
            log.debug("decoded %d of %d images", start + len(chunk), len(samples))
    return corrupt


def _damage(sample: RawSample) -> SkippedSampleError | None:
    try:
        decode(sample["image"], sample["key"])
    except SkippedSampleError as skipped:
        return skipped
    return None
