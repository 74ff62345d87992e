"""What every source of samples offers to `prepare_data`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ldc.data.report import SkipReport


@dataclass(frozen=True)
class SourceTars:
    """The tars of a source."""

    train: Sequence[str]  # paths; URLs or `pipe:` commands when streaming
    held_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # {name: paths}
    streaming: bool = False
    checked: bool = False  # every image is known to decode


class Source(Protocol):
    """A place that samples come from."""

    @property
    def name(self) -> str:
        """Names the prepared folder; letters, digits, `_` and `-`."""
        ...

    def check(self) -> None:
        """Raises a one-sentence ValueError when the input is not there; reads no sample."""
        ...

    def resolve(self, cache: Path, report: SkipReport) -> SourceTars:
        """Returns the source's tars, made or fetched where they are not yet in the cache; damage goes to the report."""
        ...


def split_tars(folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Returns (train, {other split: tars}) of a folder that `write_shards` filled."""
    splits: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.tar")):
        splits.setdefault(path.name.rpartition("-")[0], []).append(str(path))
    return splits.pop("train", []), splits
