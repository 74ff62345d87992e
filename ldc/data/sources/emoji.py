"""The embedded data: `assets/emoji64.tar.xz` unpacked into WebDataset tars for its three splits."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ldc.data.cache import make_once
from ldc.data.report import SkipReport
from ldc.data.shard_writer import NewSample, write_shards
from ldc.data.sources.base import SourceTars, split_tars

LAYOUT = 1  # raise it when the same archive becomes other tars


@dataclass(frozen=True)
class Emoji:
    """Captioned emoji, 64 px: train, cell and composition splits (see `ldc.data.builders.emoji64`).

    Args:
        archive: the archive that the builder wrote.
        mini: only the samples marked as mini.
    """

    archive: Path | str
    mini: bool = False

    @property
    def name(self) -> str:
        """`emoji64` or `emoji64_mini`."""
        return "emoji64_mini" if self.mini else "emoji64"

    def check(self) -> None:
        """Raises ValueError when the archive is not there."""
        if not Path(self.archive).is_file():
            raise ValueError(f"the emoji archive must be an existing file, not {str(self.archive)!r}.")

    def resolve(self, cache: Path, report: SkipReport) -> SourceTars:  # noqa: ARG002  a whole archive loses nothing
        """Unpacks the archive, once for each content of it.

        Raises:
            ValueError: the archive is missing or damaged.
        """
        self.check()
        digest = hashlib.sha256(Path(self.archive).read_bytes() + bytes([LAYOUT])).hexdigest()[:8]
        folder = cache / "tars" / f"{self.name}-{digest}"
        make_once(folder, self._unpack)
        train, held_out = split_tars(folder)
        return SourceTars(train, held_out, checked=True)

    def _unpack(self, folder: Path) -> None:
        try:
            with tarfile.open(self.archive) as archive:
                # read at once, in order: a second pass would decompress everything again
                contents = {member.name: file.read() for member in archive if (file := archive.extractfile(member))}
            write_shards(folder, self._samples(contents))
            (folder / "NOTICE.md").write_bytes(contents["NOTICE.md"])
        except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
            raise ValueError(
                f"{self.archive} must be the archive of the emoji64 builder, not a damaged one."
            ) from error

    def _samples(self, contents: dict[str, bytes]) -> Iterator[NewSample]:
        for line in contents["samples.jsonl"].splitlines():
            sample = json.loads(line)
            if sample.pop("mini") or not self.mini:
                key, image = sample["key"].replace("/", "-"), contents[f"{sample.pop('key')}.webp"]
                yield NewSample(sample["split"], key, "webp", image, sample)
