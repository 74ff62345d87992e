"""Existing WebDataset tars, as img2dataset writes them: local, remote with a local copy, or streamed.

LAION is this source with `ldc.data.filters`: img2dataset keeps its aesthetic, watermark and similarity columns.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from braceexpand import braceexpand

from ldc.data.remote import fetch_all, is_remote
from ldc.data.report import SkipReport
from ldc.data.sources.base import SourceTars

Patterns = str | Sequence[str]


@dataclass(frozen=True)
class Shards:
    """Tars by pattern.

    Args:
        urls: a pattern or a list of them: paths, folders of tars, globs, brace patterns (`{00000..00099}.tar`),
            http(s), s3 or gs addresses, `pipe:` commands.
        held_out: {name: patterns} of tars to evaluate on.
        reader: "indexed" reads local tars, and remote ones through a copy in the cache; "streaming" reads on the fly,
            copies nothing and resumes at shard granularity.
        name: names the prepared folder.
    """

    urls: Patterns
    held_out: Mapping[str, Patterns] = field(default_factory=dict)
    reader: str = "indexed"
    name: str = "shards"

    def check(self) -> None:
        """Raises ValueError when a pattern matches nothing or the reader is unknown; fetches nothing."""
        if self.reader not in ("indexed", "streaming"):
            raise ValueError(f"reader must be indexed or streaming, not {self.reader!r}.")
        for patterns in (self.urls, *self.held_out.values()):
            expand(patterns)

    def resolve(self, cache: Path, report: SkipReport) -> SourceTars:  # noqa: ARG002  damage shows when tars are read
        """Returns the tars; remote ones are copied into the cache unless they are streamed.

        Raises:
            ValueError: a pattern matches nothing, or a remote tar cannot be fetched.
        """
        self.check()
        held_out = {name: fetch_all(expand(patterns), cache) for name, patterns in self.held_out.items()}
        urls = expand(self.urls)
        if self.reader == "streaming":
            return SourceTars(urls, held_out, streaming=True)
        return SourceTars(fetch_all(urls, cache), held_out)


def expand(patterns: Patterns) -> list[str]:
    """Returns the tars that patterns name: paths that exist, and remote addresses as they are.

    Raises:
        ValueError: there is no pattern, one matches nothing, or a tar that is named in full does not exist.
    """
    listed = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns]
    if not listed:
        raise ValueError("urls must name at least one tar, but the list is empty.")
    return [url for pattern in listed for url in _expand_one(pattern)]


def _expand_one(pattern: str) -> list[str]:
    if is_remote(pattern):
        return list(braceexpand(pattern))
    pattern = str(Path(pattern.removeprefix("file:")).expanduser().absolute())
    names = _braces(pattern)
    found = [path for name in names for path in _local(name)]
    if not found:
        folder, name = _folder(names[0]), Path(pattern).name
        raise ValueError(f"shards must match at least one tar, but {name!r} matches nothing in {folder}.")
    absent = [name for name in names if not has_magic(name) and not Path(name).exists()]
    if absent:
        raise ValueError(f"shards must exist, but {len(absent)} of {pattern!r} do not, such as {absent[0]!r}.")
    return found


def _braces(pattern: str) -> list[str]:
    # a file that is named like a pattern is meant as it stands
    return [pattern] if Path(pattern).exists() else list(braceexpand(pattern))


def _local(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        return [str(tar) for tar in sorted(path.glob("*.tar"))]
    if path.is_file():
        return [name]
    return sorted(glob(name, recursive=True)) if has_magic(name) else []  # noqa: PTH207  the pattern may be absolute


def _folder(name: str) -> str:
    folder = Path(re.split(r"[*?\[]", name)[0] + "_").parent
    return str(folder) if folder.is_dir() else f"{folder} (no such folder)"
