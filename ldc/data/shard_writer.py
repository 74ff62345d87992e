"""Writes samples as standard WebDataset tars, `<split>-00000.tar` and on, with their offset indexes."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ldc.data.index import build_index


class NewSample(NamedTuple):
    """A sample to write."""

    split: str  # names the tar it goes to
    key: str  # without dots and slashes
    extension: str  # of the image: jpg, jpeg, png or webp
    image: bytes
    metadata: dict[str, Any]  # becomes the JSON member: the caption ("caption" or "captions") and everything else


def write_shards(folder: Path, samples: Iterable[NewSample], samples_per_shard: int = 1000) -> None:
    """Writes the samples into tars of one split each; the same samples give the same bytes."""
    tars: dict[str, tarfile.TarFile] = {}
    counts: dict[str, int] = {}
    try:
        for sample in samples:
            count = counts.get(sample.split, 0)
            if count % samples_per_shard == 0:
                if sample.split in tars:
                    tars[sample.split].close()
                path = folder / f"{sample.split}-{count // samples_per_shard:05d}.tar"
                tars[sample.split] = tarfile.open(path, "w")  # noqa: SIM115  closed below or at the next shard
            counts[sample.split] = count + 1
            add_member(tars[sample.split], f"{sample.key}.{sample.extension}", sample.image)
            add_member(tars[sample.split], f"{sample.key}.json", json.dumps(sample.metadata).encode())
    finally:
        for tar in tars.values():
            tar.close()
    for path in sorted(folder.glob("*.tar")):
        build_index(path)


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file to a tar; time, owner and mode keep tarfile's fixed defaults."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
