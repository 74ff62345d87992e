"""Reads WordNet 3.0 out of Debian's package: each word with its most frequent sense."""

import gzip
import hashlib
import io
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "wordnet-base_1%3a3.0-37_all.deb"
SHA256 = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
NAMES = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
_SENSE_TYPES = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
_ENTRY = re.compile(r"([a-z]{3,14})")


@dataclass(frozen=True)
class Entry:
    """A word in the sense that it most often has as this part of speech."""

    word: str
    pos: str  # noun | verb | adjective | adverb
    gloss: str  # the definition, without the examples
    example: str | None  # a sentence or phrase with the word, where WordNet has one
    count: int  # how often the sense occurs in WordNet's tagged texts
    synset: str  # part of speech and offset
    kin: frozenset[str]  # synsets of the word's other senses, and those that this one points to


def read_package(path: Path) -> list[Entry]:
    """Returns the entries of Debian's `wordnet-base`, sorted by word, then part of speech.

    Raises:
        ValueError: the file is another.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path.name} must have sha256 {SHA256}, not {digest}.")
    files = _files(content)
    return read_database({name.rpartition("/")[2]: text for name, text in files.items() if "/wordnet/" in name})


def read_database(files: dict[str, str]) -> list[Entry]:
    """Returns the entries of WordNet's files, {name: text}: index.*, data.* and cntlist.rev."""
    counts = _first_sense_counts(files["cntlist.rev"])
    entries = []
    for part, letter in PARTS.items():
        synsets = dict(_synset(line, letter) for line in files[f"data.{part}"].splitlines() if not line.startswith(" "))
        for line in files[f"index.{part}"].splitlines():
            fields = line.split()
            if line.startswith(" ") or not _ENTRY.fullmatch(fields[0]) or (fields[0], part) not in counts:
                continue
            first, *others = [f"{letter}{offset}" for offset in fields[-int(fields[2]) :]]
            words, (gloss, examples), kin = synsets[first]
            if fields[0] not in words:  # the index writes names small, too
                continue
            example = next((text for text in examples if re.search(rf"\b{fields[0]}\b", text)), None)
            count = counts[fields[0], part]
            entries.append(Entry(fields[0], NAMES[part], gloss, example, count, first, kin.union(others)))
    return sorted(entries, key=lambda entry: (entry.word, entry.pos))


def _files(content: bytes) -> dict[str, str]:
    """Returns the text files of a Debian package: an `ar` archive with a tar in it."""
    place = len(b"!<arch>\n")
    while not (header := content[place : place + 60]).startswith(b"data.tar.xz"):
        size = int(header[48:58])
        place += 60 + size + size % 2
    data = lzma.decompress(content[place + 60 : place + 60 + int(header[48:58])])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    return {name: (gzip.decompress(raw) if name.endswith(".gz") else raw).decode() for name, raw in files.items()}


def _first_sense_counts(listing: str) -> dict[tuple[str, str], int]:
    """Returns {(word, part): count of its first sense}; words that were never tagged are not in it."""
    counts: dict[tuple[str, str], int] = {}
    for line in listing.splitlines():
        key, sense, count = line.split()
        word, _, rest = key.partition("%")
        if sense == "1":
            counts[word, _SENSE_TYPES[rest[0]]] = int(count)
    return counts


def _synset(line: str, letter: str) -> tuple[str, tuple[set[str], tuple[str, list[str]], frozenset[str]]]:
    """Returns (synset, (its words, (definition, examples), synsets that it points to)) of a line of a data file."""
    fields, _, text = line.partition(" | ")
    offset, _, _, num_words, *rest = fields.split()
    words = {word.partition("(")[0] for word in rest[: 2 * int(num_words, 16) : 2]}
    rest = rest[2 * int(num_words, 16) :]
    pointers = rest[1 : 1 + 4 * int(rest[0])]
    kin = frozenset(f"{part}{to}" for to, part in zip(pointers[1::4], pointers[2::4], strict=True))
    definition = re.split(r';\s*"', text, maxsplit=1)[0].split('"')[0].strip(" ;:")
    examples = [example for example in re.findall(r'"([^"]+)"', text) if " " in example]
    return f"{letter}{offset}", (words, (definition, examples), kin)
