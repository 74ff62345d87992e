"""Samples read on the fly from `pipe:` commands, URLs or files through webdataset, without copies and without an index.

The endless sequence of shards is a pure function of the seed: epoch after epoch in new orders. Rank and worker take
every n-th shard of it. Nothing is known of a shard before it is read, so a run resumes at the start of the shard that
`consumed` falls into by the nominal shard size: some samples are seen twice, or not in that epoch. Local or copied
tars, which `ldc.data.sharded` reads by index, resume exactly.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

import webdataset
from torch.utils.data import IterableDataset
from webdataset.utils import pytorch_worker_info

from ldc import randomness
from ldc.data.filters import Filters
from ldc.data.remote import pipe_command
from ldc.data.report import SkipReport
from ldc.data.samples import RawSample, SkippedSampleError, assemble

MIN_ENTRIES = 100  # damage is judged from here on
log = logging.getLogger(__name__)


class StreamedSample(NamedTuple):
    """A raw sample and its place in the endless stream."""

    position: int  # unique over ranks and workers; the draws of the sample hang on it
    sample: RawSample


class StreamingSamples(IterableDataset[StreamedSample]):
    """An endless stream of raw samples; each rank and worker yields its own.

    Args:
        urls: shards: `pipe:` commands, http(s), s3 or gs addresses, local paths.
        seed: of the shards' order and of the shuffle buffer.
        consumed: samples of the stream that a run has used already, over all ranks.
        samples_per_shard: nominal size, which turns `consumed` into a number of shards; img2dataset writes 10,000.
        filters: what to leave out by metadata.
        shuffle_buffer: samples among which the next is drawn; 1 keeps the shards' order.
        max_skipped: largest allowed share of damaged samples in a worker, 0 to 1, judged from 100 entries on.

    Raises:
        ValueError: there is no shard; while iterating: the share is passed, or a whole epoch holds no usable sample.
    """

    def __init__(
        self,
        urls: Sequence[str],
        seed: int,
        *,
        consumed: int = 0,
        samples_per_shard: int = 10_000,
        filters: Filters | None = None,
        shuffle_buffer: int = 1000,
        max_skipped: float = 0.1,
    ) -> None:
        super().__init__()
        if not urls:
            raise ValueError("the list of shards must name at least one tar, but it is empty.")
        self.urls = list(urls)
        self.seed = seed
        self.consumed = consumed
        self.first_shard = consumed // samples_per_shard
        self.filters = filters
        self.shuffle_buffer = shuffle_buffer
        self.report = SkipReport(max_skipped)  # this process's own: each worker has one
        self.filtered: Counter[str] = Counter()
        self._cut: str | None = None  # the last shard that broke off
        if consumed:
            log.info("streaming resumes at shard granularity: %d samples -> shard %d.", consumed, self.first_shard)

    def __iter__(self) -> Iterator[StreamedSample]:
        rank, world_size, worker, num_workers = pytorch_worker_info()
        lane, num_lanes = rank * num_workers + worker, world_size * num_workers
        pipeline = webdataset.DataPipeline(
            self._shards,
            webdataset.split_by_node,
            webdataset.split_by_worker,
            self._own,
            webdataset.tarfile_to_samples(handler=self._on_error),
            self._usable,
            webdataset.shuffle(self.shuffle_buffer, rng=Random(f"{self.seed}/{self.consumed}/{lane}")),  # noqa: S311
        )
        for number, sample in enumerate(pipeline):
            yield StreamedSample(self.consumed + number * num_lanes + lane, sample)

    def _shards(self) -> Iterator[dict[str, str]]:
        """Yields the endless sequence of shards, from the first one on."""
        size = len(self.urls)
        for epoch in count(self.first_shard // size):
            start = self.first_shard % size if epoch == self.first_shard // size else 0
            for place in randomness.permutation(self.seed, "shards", epoch, size)[start:]:
                command = pipe_command(self.urls[place])
                yield {"url": f"pipe:{command}" if command else self.urls[place]}

    def _own(self, source: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
        """Passes on this worker's shards, until it has gone through as many as there are without a usable sample."""
        for number, shard in enumerate(source):
            if number >= len(self.urls) and self.report.kept == self.filtered.total():
                raise ValueError(f"the shards must hold a usable sample, but {number} of them gave none.")
            yield shard

    def _usable(self, source: Iterator[Mapping[str, Any]]) -> Iterator[RawSample]:
        for grouped in source:
            members = {name: value for name, value in grouped.items() if not name.startswith("__")}
            try:
                sample = assemble(grouped["__key__"], members)
            except SkippedSampleError as skipped:
                if grouped["__url__"] == self._cut:  # the rest of a sample that the cut took: already one entry
                    self._cut = None
                    continue
                self._skip(skipped.reason, f"{grouped['__url__']}:{skipped.name}")
                continue
            self.report.keep()
            if self.filters and (reason := self.filters.refuses(sample["metadata"])):
                self.filtered[reason] += 1
            else:
                yield sample

    def _skip(self, reason: str, name: str) -> None:
        self.report.skip(reason, name)
        if self.report.kept + self.report.skipped >= MIN_ENTRIES:
            self.report.check()

    def _on_error(self, error: Exception) -> bool:
        """Counts a shard that breaks off; True lets webdataset go on with the next one.

        webdataset reports the same break from the member and from the tar, and only the second names the shard.
        """
        url = error.args[-1] if len(error.args) > 1 else None
        if isinstance(url, str):
            self._cut = url
            cut = "unexpected end" in str(error.args[0])
            self._skip("truncated tar" if cut else "unreadable tar", f"{url} ({error.args[0]})")
        return True
