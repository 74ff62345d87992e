"""What the data lost on the way: damaged samples are skipped, counted and named, and too many are an error."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class SkipReport:
    """Counts kept and skipped samples; names the first `num_names` of each reason.

    Only damage counts here (corrupt image, truncated tar, missing caption ...). What a filter leaves out on purpose is
    counted by `ldc.data.filters`. A truncated tar is one entry, since nobody knows how many samples the cut took.

    Args:
        limit: largest allowed share of skipped entries, 0 to 1.
        num_names: how many names to keep for each reason.
    """

    def __init__(self, limit: float = 0.1, num_names: int = 20) -> None:
        if not 0 <= limit <= 1:
            raise ValueError(f"the limit on skipped samples must be a share from 0 to 1, not {limit!r}.")
        self.limit = limit
        self.num_names = num_names
        self.kept = 0
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def keep(self, count: int = 1) -> None:
        """Counts usable samples."""
        self.kept += count

    def skip(self, reason: str, name: str) -> None:
        """Counts one skipped sample (or cut tar) and logs it while its reason still has room for names."""
        self.counts[reason] += 1
        names = self.names.setdefault(reason, [])
        if len(names) < self.num_names:
            names.append(name)
            log.warning("skipped %s: %s", name, reason)

    def drop(self, reason: str, name: str) -> None:
        """Counts a sample as skipped that was counted as kept before, such as an image that does not decode."""
        self.kept -= 1
        self.skip(reason, name)

    @property
    def skipped(self) -> int:
        """The number of skipped entries."""
        return sum(self.counts.values())

    @property
    def share(self) -> float:
        """The share of skipped entries, 0 to 1."""
        total = self.kept + self.skipped
        return self.skipped / total if total else 0.0

    def merge(self, other: "SkipReport") -> None:
        """Adds another report's counts and names, such as a worker's."""
        self.kept += other.kept
        self.counts.update(other.counts)
        for reason, names in other.names.items():
            mine = self.names.setdefault(reason, [])
            mine.extend(names[: self.num_names - len(mine)])

    def check(self) -> None:
        """Raises ValueError when the share of skipped entries is past the limit."""
        if self.share > self.limit:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.most_common())
            raise ValueError(
                f"the share of skipped samples must be at most {self.limit:g}, not {self.share:.3g} "
                f"({self.skipped} of {self.kept + self.skipped}: {reasons})."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns kept, skipped, share, limit, counts by reason and the first names of each."""
        return {
            "kept": self.kept,
            "skipped": self.skipped,
            "share": self.share,
            "limit": self.limit,
            "counts": dict(self.counts),
            "names": self.names,
        }

    @classmethod
    def read(cls, path: Path | str, limit: float) -> "SkipReport":
        """Returns the report that `write` wrote, under another limit."""
        content = json.loads(Path(path).read_text())
        report = cls(limit)
        report.kept, report.counts, report.names = content["kept"], Counter(content["counts"]), content["names"]
        return report

    def write(self, path: Path | str) -> None:
        """Writes the report as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")
