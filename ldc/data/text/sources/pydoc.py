"""Technical English that comes with every CPython: the topics of its language reference, `pydoc_data.topics`.

Long topics hold short ones whole ("compound" holds "for", "while" ...). A paragraph is kept in the shortest topic that
has it, so that nothing held out is trained on.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ldc.data.text.sources.base import Document, Unit, check_share, split_of, unit_in_memory

PARAGRAPH = 40  # characters; shorter ones recur everywhere


@dataclass(frozen=True)
class PydocTopics:
    """The topics that `help()` shows, about 80 documents; they differ between releases of Python, so the name says it.

    Args:
        held_out: share of the topics kept out of training.
    """

    held_out: float = 0.1

    @property
    def name(self) -> str:
        """`pydoc-3.11.7` under Python 3.11.7."""
        return "pydoc-" + ".".join(map(str, sys.version_info[:3]))

    def check(self) -> None:
        """Raises ValueError for a share that cannot be, or where Python was installed without its topics."""
        check_share(self.held_out)
        _topics()

    def units(self, cache: Path | None = None) -> list[Unit]:  # noqa: ARG002  nothing is fetched
        """Returns one unit, named `pydoc`."""
        self.check()
        return [unit_in_memory("pydoc", self.local_documents())]

    def local_documents(self, split: str | None = None) -> Iterator[Document]:  # noqa: ARG002  all are in one place
        """Returns all documents: nothing is ever fetched."""
        topics = sorted(distinct_paragraphs(_topics()).items())
        return (Document(key, text, split_of(key, self.held_out)) for key, text in topics)


def distinct_paragraphs(topics: Mapping[str, str]) -> dict[str, str]:
    """Returns the texts with each paragraph in the shortest of them that has it; headings and the like stay in all."""
    seen: set[str] = set()
    kept: dict[str, str] = {}
    for key, text in sorted(topics.items(), key=lambda topic: (len(topic[1]), topic[0])):
        paragraphs = {part: " ".join(part.split()) for part in text.strip().split("\n\n")}  # {as it is: on one line}
        kept[key] = "\n\n".join(part for part, line in paragraphs.items() if line not in seen).strip()
        seen |= {line for line in paragraphs.values() if len(line) >= PARAGRAPH}
    return {key: text for key, text in kept.items() if text}


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 - 0.5 MB, and some installations leave it out
    except ImportError as error:
        raise ValueError(
            "Python must be installed with its help topics (pydoc_data) for data=texts, but it has none: "
            "install its standard library whole, or choose data=kjv."
        ) from error
    return topics
