"""What is known of a data source without preparing it: its shards, their sizes, how many samples they hold."""

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldc.data.index import BLOCK, saved_index, scan
from ldc.data.remote import is_remote
from ldc.data.samples import IMAGE_EXTENSIONS
from ldc.data.sources import Emoji, Folder, Shards
from ldc.data.sources.shards import expand
from ldc.profiling.machine import GB
from ldc.runtime.doctor.findings import FAILED, NOTE, OK, WARNING, Finding
from ldc.runtime.readers import is_streaming

SHARDS = "shards"


@dataclass(frozen=True)
class Data:
    """The training samples of a source, before filters; `how` says where their number is from."""

    samples: int | None
    how: str
    shards: int = 0
    findings: list[Finding] = field(default_factory=list)


def look_at(source: Any, cache: Path) -> Data:
    """Returns what is there; nothing is written, fetched or unpacked, and a source that is not there gives nothing."""
    try:
        source.check()
    except (ValueError, OSError):
        return Data(None, "the data are not there")  # the config's findings say so
    if hasattr(source, "units"):
        text = f"{source.name}: the texts are there; how many tokens they make is known once they are packed"
        return Data(None, "texts are not packed", findings=[Finding(SHARDS, OK, text)])
    if isinstance(source, Shards):
        return _shards(source, cache)
    count, how = _emoji(source) if isinstance(source, Emoji) else _folder(source)
    return Data(count, how, findings=[Finding(SHARDS, OK, f"{source.name}: {_said(count)} samples ({how})")])


def enough_shards(data: Data, source: Any, ranks: int, workers: int) -> list[Finding]:
    """Returns a warning where streamed shards are fewer than the processes that read them."""
    readers = ranks * max(1, workers)
    if not is_streaming(source) or data.shards >= readers:
        return []
    text = f"{data.shards} streamed shards for {ranks} ranks x {max(1, workers)} workers: some read the same at once"
    return [Finding(SHARDS, WARNING, f"{text}; have at least {readers}")]


def _shards(source: Shards, cache: Path) -> Data:
    urls = expand(source.urls)
    tars = [Path(url) for url in urls if not is_remote(url)]
    if len(tars) < len(urls):
        text = f"{len(urls)} shards, {len(urls) - len(tars)} of them remote, which are not looked at"
        return Data(None, "remote shards", len(urls), [Finding(SHARDS, NOTE, text)])
    sizes = {tar: tar.stat().st_size for tar in tars}
    spread = f"{min(sizes.values()) / GB:.3g} to {max(sizes.values()) / GB:.3g} GiB"
    found = [Finding(SHARDS, OK, f"{len(tars)} shards, {sum(sizes.values()) / GB:.3g} GiB in all, {spread} each")]
    damaged = {tar: trouble for tar in tars if (trouble := _trouble(tar)) is not None}
    if damaged:
        tar, trouble = next(iter(damaged.items()))
        text = f"{len(damaged)} of {len(tars)} shards are damaged, such as {tar} ({trouble})"
        found.append(Finding(SHARDS, FAILED if len(damaged) == len(tars) else WARNING, text))
    samples, how = _count([tar for tar in tars if tar not in damaged], sizes, cache)
    found.append(Finding(SHARDS, OK if samples else NOTE, f"{_said(samples)} samples before filters ({how})"))
    return Data(samples, how, len(urls), found)


def _trouble(tar: Path) -> str | None:
    """Returns what is wrong with a tar, told from its first and last block."""
    try:
        with tar.open("rb") as file:
            tarfile.TarInfo.frombuf(file.read(BLOCK), tarfile.ENCODING, "surrogateescape")
            file.seek(-BLOCK, 2)
            return None if file.read(BLOCK) == bytes(BLOCK) else "no end mark"
    except (OSError, tarfile.TarError) as error:
        return str(error)


def _count(tars: Sequence[Path], sizes: dict[Path, int], cache: Path) -> tuple[int | None, str]:
    """Counts by img2dataset's statistics, by saved indexes, or guesses by the first shard and the sizes."""
    if not tars:
        return None, "no readable shard"
    for how, count in (("img2dataset's *_stats.json", _stated), ("saved indexes", lambda tar: _indexed(tar, cache))):
        counts = [count(tar) for tar in tars]
        if all(number is not None for number in counts):
            return sum(number for number in counts if number is not None), how
    first = len(scan(tars[0]))
    if len(tars) == 1:
        return first, "counted"
    return round(first * sum(sizes[tar] for tar in tars) / sizes[tars[0]]), f"guessed: {first} in {tars[0].name}"


def _stated(tar: Path) -> int | None:
    try:
        return int(json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text())["successes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _indexed(tar: Path, cache: Path) -> int | None:
    index = saved_index(tar, cache)
    return None if index is None else len(index)


def _emoji(source: Emoji) -> tuple[int | None, str]:
    with tarfile.open(source.archive) as archive:
        for member in archive:
            if member.name == "samples.jsonl" and (file := archive.extractfile(member)) is not None:
                records = [json.loads(line) for line in file]
                used = [r for r in records if r["split"] == "train" and (r["mini"] or not source.mini)]
                return len(used), "the archive's list"
    return None, "the archive has no list"


def _folder(source: Folder) -> tuple[int | None, str]:
    names = (path.suffix.lower().lstrip(".") for path in Path(source.path).rglob("*"))
    return sum(name in IMAGE_EXTENSIONS for name in names), "image files"


def _said(count: int | None) -> str:
    return "an unknown number of" if count is None else f"{count:,}"
