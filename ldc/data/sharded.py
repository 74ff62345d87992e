"""Many tars seen as one list of samples: sized, in the tars' order, any sample read in constant time."""

import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ldc.data.filters import Filters
from ldc.data.index import Index, build_index
from ldc.data.reader import TarReader
from ldc.data.report import SkipReport
from ldc.data.samples import RawSample, SkippedSampleError, assemble, image_extension, read_text

log = logging.getLogger(__name__)


class ShardedSamples:
    """The usable samples of some tars, numbered 0 to len - 1.

    Construction reads the text members of every sample (not the images): samples without image or caption are skipped
    and reported, those that the filters refuse are counted in `filtered`. An image that does not decode shows only when
    it is decoded (`ldc.data.transforms.decode`); keys known to be corrupt are left out by `exclude`.

    Args:
        tars: local tar files.
        filters: what to leave out by metadata; None keeps all.
        exclude: keys to leave out silently, such as those of images found corrupt by `prepare_data`.
        report: where damage is counted; None makes one with the default limit (`self.report`).
        cache: where indexes of read-only tars are saved.

    Raises:
        ValueError: no tar is given, one does not exist, the share of damaged samples is past the report's limit, or no
            sample is left.
    """

    def __init__(
        self,
        tars: Sequence[Path | str],
        filters: Filters | None = None,
        *,
        exclude: Collection[str] = (),
        report: SkipReport | None = None,
        cache: Path | None = None,
    ) -> None:
        if not tars:
            raise ValueError("the list of shards must name at least one tar, but it is empty.")
        self.tars = [Path(tar) for tar in tars]
        self.filters = filters
        self.report = SkipReport() if report is None else report
        self.filtered: Counter[str] = Counter()  # counts by reason of what the filters refused
        self._exclude = frozenset(exclude)
        self._reader = TarReader()
        self._indexes = [build_index(tar, cache) for tar in self.tars]
        self._places = [self._usable(index) for index in self._indexes]
        self._ends = list(accumulate(len(places) for places in self._places))
        self._records: list[dict[str, Any]] | None = None
        self.report.check()
        if not len(self):
            raise ValueError(f"the shards must hold a usable sample, but the filters left none: {dict(self.filtered)}.")

    def __len__(self) -> int:
        return self._ends[-1]

    def sample(self, number: int) -> RawSample:
        """Returns sample `number`: {"key", "image" (file bytes), "captions", "metadata"}."""
        index, place = self._find(number)
        wanted = (image_extension(index.members(place)) or "", "txt", "json")
        return assemble(index.keys[place], self._reader.read(index, place, only=wanted))

    def record(self, number: int) -> dict[str, Any]:
        """Returns sample `number` without its image: its metadata, "key", "captions" and "caption" (the first)."""
        index, place = self._find(number)
        captions, metadata = read_text(index.keys[place], self._reader.read(index, place, only=("txt", "json")))
        return {**metadata, "key": index.keys[place], "captions": captions, "caption": captions[0]}

    def records(self) -> list[dict[str, Any]]:
        """Returns every sample's record, in order (emoji: concept, style, group, split); read once, then kept."""
        if self._records is None:
            self._records = [self.record(number) for number in range(len(self))]
        return self._records

    def shard(self, number: int) -> range:
        """Returns the sample numbers that come from tar `number`."""
        return range(self._ends[number] - len(self._places[number]), self._ends[number])

    def _find(self, number: int) -> tuple[Index, int]:
        if not 0 <= number < len(self):
            raise IndexError(f"a sample's number must be from 0 to {len(self) - 1}, not {number}.")
        shard = bisect_right(self._ends, number)
        return self._indexes[shard], self._places[shard][number - self.shard(shard).start]

    def _usable(self, index: Index) -> list[int]:
        """Returns the places of the tar's usable samples, and counts the others."""
        if index.truncated:
            self.report.skip("truncated tar", f"{index.tar} ({index.truncated})")
        places = []
        for place, key in enumerate(index.keys):
            if key in self._exclude:
                continue
            if image_extension(index.members(place)) is None:
                self.report.skip("missing image", f"{index.tar}:{key}")
                continue
            try:
                _, metadata = read_text(key, self._reader.read(index, place, only=("txt", "json")))
            except SkippedSampleError as skipped:
                self.report.skip(skipped.reason, f"{index.tar}:{key}")
                continue
            self.report.keep()
            if self.filters and (reason := self.filters.refuses(metadata)):
                self.filtered[reason] += 1
            else:
                places.append(place)
        return places
