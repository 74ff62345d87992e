"""Encodes shards of images and captions into shards of latents and text states, once for all later runs.

Legend: B batch, C latent channels, h x w latent size, S pixel size, L tokens, D text width.

The folder's name hashes the shards, the encoders and the options, so that another call finds its work done. A shard is
written in one go and renamed last: an interrupted call continues with the first shard that is missing. The layout is
described in `ldc.data.encoded`.
"""

import hashlib
import io
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from tqdm import tqdm

from ldc.data.encoded import SCHEMA, Encoded
from ldc.data.filters import Filters
from ldc.data.manifest import MANIFEST, is_finished, write_json
from ldc.data.report import SkipReport
from ldc.data.shard_encoder import DecodedImages, Encoders, ShardEncoder
from ldc.data.sharded import ShardedSamples

WHOLE_MB = 16  # shards up to this size are hashed as a whole, larger ones by size, start and end
ENDS_KB = 64
log = logging.getLogger(__name__)


def encode_shards(
    tars: Sequence[Path | str],
    encoders: Encoders,
    out: Path | str,
    *,
    size: int,
    text: bool = True,
    flip: bool = False,
    filters: Filters | None = None,
    exclude: Collection[str] = (),
    batch_size: int = 32,
    num_workers: int = 0,
    skip_limit: float = 0.1,
    progress: bool = True,
) -> Encoded:
    """Returns the cached latents of shards, encoding what is missing.

    Args:
        tars: local shards of images and captions.
        encoders: the frozen encoders.
        out: folder of caches; this one becomes a folder in it, named by its key.
        size: S, pixels; images are resized and cropped to the centre.
        text: encode every caption too. Off, the captions are kept as text for encoding during training.
        flip: also encode the mirrored image.
        filters: which samples to leave out by their metadata.
        exclude: keys of samples to leave out.
        batch_size: images in one call of the VAE.
        num_workers: processes that decode images.
        skip_limit: largest allowed share of damaged samples.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: a shard does not exist, none is usable, or too many samples are damaged.
    """
    options = {
        "size": size,
        "text": text,
        "flip": flip,
        "filters": asdict(filters) if filters else None,
        "exclude": sorted(exclude),
        "preprocessing": "RGB on white, short side bilinear, centre crop, x / 127.5 - 1",
    }
    sources = [source_identity(Path(tar)) for tar in tars]
    key = _key(sources, encoders.fingerprint, options)
    folder = Path(out) / key
    if is_finished(folder):
        log.info("Latents are cached in %s.", folder)
        return Encoded(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = SkipReport(skip_limit)
    samples = ShardedSamples(tars, filters, exclude=exclude, report=report)
    encoder = ShardEncoder(encoders, folder, size=size, text=text, flip=flip)
    shards = _encode_missing(samples, encoder, batch_size, num_workers, progress=progress)
    manifest = {"schema": SCHEMA, "key": key, "fingerprint": encoders.fingerprint, "options": options}
    manifest |= {"scaling_factor": encoders.scaling_factor, "flip": flip, "sources": sources}
    manifest |= _summary(shards, samples) | encoder.shapes()
    write_json(folder / MANIFEST, manifest)
    log.info("Encoded %d samples of %d shards into %s.", manifest["samples"], len(shards), folder)
    return Encoded(folder)


def source_identity(tar: Path) -> dict[str, Any]:
    """Returns {"file", "size", "hash"} of a shard; a large one is hashed by its size, start and end.

    Raises:
        ValueError: the shard does not exist.
    """
    if not tar.is_file():
        raise ValueError(f"a shard must be an existing tar file, not {str(tar)!r}.")
    size = tar.stat().st_size
    digest = hashlib.blake2b(digest_size=8)
    with tar.open("rb") as file:
        if size <= WHOLE_MB << 20:
            digest.update(file.read())
        else:
            digest.update(file.read(ENDS_KB << 10))
            file.seek(-(ENDS_KB << 10), io.SEEK_END)
            digest.update(file.read())
    return {"file": tar.name, "size": size, "hash": digest.hexdigest()}


def _key(sources: list[dict[str, Any]], fingerprint: str, options: dict[str, Any]) -> str:
    named = [[source["size"], source["hash"]] for source in sources]  # a moved or renamed shard is the same data
    text = json.dumps([SCHEMA, named, fingerprint, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encode_missing(
    samples: ShardedSamples, encoder: ShardEncoder, batch_size: int, num_workers: int, *, progress: bool
) -> list[dict[str, Any]]:
    """Encodes the shards that are not there yet; returns the record of each shard, in order."""
    numbers = range(len(samples.tars))
    records = {number: record for number in numbers if (record := encoder.finished(number)) is not None}
    batches = {n: _chunks(samples.shard(n), batch_size) for n in numbers if n not in records}
    # One loader for all shards, so that workers read ahead across them; no batch spans two.
    loader = DataLoader(
        DecodedImages(samples, encoder.size),
        batch_sampler=[batch for several in batches.values() for batch in several],
        num_workers=num_workers,
        collate_fn=list,
    )
    decoded = iter(loader)
    done = sum(len(samples.shard(number)) for number in records)
    with tqdm(total=len(samples), initial=done, unit="sample", desc="encode", disable=not progress) as bar:
        for number in numbers:
            if number in batches:
                shard = islice(decoded, len(batches[number]))
                records[number] = encoder.encode(number, samples.tars[number], shard, bar.update)
            for reason, name in records[number]["skipped"]:
                samples.report.drop(reason, name)
            samples.report.check()
    return [records[number] for number in numbers]


def _chunks(numbers: range, size: int) -> list[list[int]]:
    return [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]


def _summary(shards: list[dict[str, Any]], samples: ShardedSamples) -> dict[str, Any]:
    counts = {name: sum(shard[name] for shard in shards) for name in ("samples", "captions")}
    return {**counts, "shards": shards, "skipped": samples.report.to_json(), "filtered": dict(samples.filtered)}
