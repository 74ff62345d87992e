"""A folder of images with captions beside them, turned into WebDataset tars.

Captions stand in `<image>.txt` or `<image>.json`, or in a `metadata.jsonl` or `metadata.csv` of the image's folder or
one above (Hugging Face's imagefolder: a `file_name` column, captions in `text`, `caption` or `captions`). A metadata
field `split` other than "train" puts a sample into the held-out set of that name.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldc.data.cache import make_once
from ldc.data.report import SkipReport
from ldc.data.samples import IMAGE_EXTENSIONS, SkippedSampleError, read_text
from ldc.data.shard_writer import NewSample, write_shards
from ldc.data.sources.base import SourceTars, split_tars
from ldc.data.transforms import decode

LAYOUT = 1  # raise it when the same folder becomes other tars
METADATA_FILES = ("metadata.jsonl", "metadata.csv")
REPORT = "skipped.json"


@dataclass(frozen=True)
class Folder:
    """Images and captions below `path`, at any depth; an image that does not decode or has no caption is skipped."""

    path: Path | str

    @property
    def name(self) -> str:
        """The folder's own name."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", Path(self.path).resolve().name) or "folder"

    def check(self) -> None:
        """Raises ValueError when there is no such folder or no image in it."""
        if not Path(self.path).is_dir():
            raise ValueError(f"the image folder must be an existing folder, not {str(self.path)!r}.")
        if next(self._images(), None) is None:
            raise ValueError(
                f"the image folder must hold {', '.join(IMAGE_EXTENSIONS)} files, but {self.path} has none."
            )

    def resolve(self, cache: Path, report: SkipReport) -> SourceTars:
        """Writes the tars, once for each state of the folder (names, sizes, modification times).

        Raises:
            ValueError: the folder is missing or has no image, or too many of its samples are damaged.
        """
        self.check()
        folder = cache / "tars" / f"{self.name}-{self._state()}"
        make_once(folder, lambda temporary: self._write(temporary, report.limit))
        report.merge(SkipReport.read(folder / REPORT, report.limit))
        train, held_out = split_tars(folder)
        return SourceTars(train, held_out, checked=True)

    def _state(self) -> str:
        root = Path(self.path)
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        lines = [f"{path.relative_to(root)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        return hashlib.sha256("\n".join([str(LAYOUT), *lines]).encode()).hexdigest()[:8]

    def _images(self) -> Iterator[Path]:
        paths = (path for path in Path(self.path).rglob("*") if path.suffix.lower()[1:] in IMAGE_EXTENSIONS)
        return (path for path in paths if path.is_file())

    def _write(self, folder: Path, limit: float) -> None:
        report = SkipReport(limit)
        write_shards(folder, self._samples(report))
        report.check()
        report.kept = 0  # the reader of the tars counts the kept ones
        report.write(folder / REPORT)

    def _samples(self, report: SkipReport) -> Iterator[NewSample]:
        tables = {path: row for name in METADATA_FILES for path, row in self._rows(name)}
        keys: set[str] = set()
        for path in sorted(self._images()):
            place = path.relative_to(self.path)
            try:
                image = path.read_bytes()
                decode(image, str(place))
                metadata = _metadata(path, tables.get(path))
            except SkippedSampleError as skipped:
                report.skip(skipped.reason, str(place))
                continue
            report.keep()
            key = _flat_key(place, keys)
            yield NewSample(_split(metadata, place), key, path.suffix.lower()[1:], image, metadata)

    def _rows(self, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        for table in sorted(Path(self.path).rglob(name)):
            lines = table.read_text(encoding="utf-8").splitlines()
            try:
                rows = csv.DictReader(lines) if name.endswith("csv") else [json.loads(line) for line in lines if line]
                for row in rows:
                    yield table.parent / row.pop("file_name"), dict(row)
            except (ValueError, KeyError, AttributeError) as error:
                raise ValueError(f"{table} must hold rows with a file_name, but one does not: {error!r}.") from error


def _metadata(path: Path, row: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the metadata of an image with its "captions", from the files beside it, else from its table's row."""
    beside = {extension: path.with_suffix(f".{extension}") for extension in ("txt", "json")}
    members = {extension: file.read_bytes() for extension, file in beside.items() if file.is_file()}
    row = dict(row or {})
    if row and "caption" not in row and "captions" not in row:
        row["caption"] = row.pop("text", None)
    if "json" not in members and row:
        members["json"] = json.dumps(row).encode()
    captions, metadata = read_text(path.name, members)
    return {**row, **metadata, "captions": captions, "file_name": path.name}


def _flat_key(place: Path, taken: set[str]) -> str:
    stem = "-".join(place.with_suffix("").parts).replace(".", "_")
    key, number = stem, 2
    while key in taken:
        key, number = f"{stem}-{number}", number + 1
    taken.add(key)
    return key


def _split(metadata: dict[str, Any], place: Path) -> str:
    split = str(metadata.get("split") or "train")
    if not re.fullmatch(r"\w+", split):
        raise ValueError(f"the split of {place} must be a word of letters, digits and _, not {split!r}.")
    return split
