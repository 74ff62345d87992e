"""Tokenises and packs text into shards of token ids, once for all later runs.

The folder's name hashes the text and the tokenizer, so that another call finds its work done. A unit of text becomes
its files in one go, renamed last: an interrupted call goes on with the first unit that is missing. The layout is
described in `ldc.data.text.tokens`.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ldc.data.manifest import MANIFEST, is_finished, write_json
from ldc.data.text.sources.base import SPLITS, Document, TextSource, Unit
from ldc.data.text.tokens import SCHEMA, PackedTokens
from ldc.permissions import share

BATCH_DOCUMENTS = 256  # tokenised in one call, on all threads of a fast tokenizer
BATCH_CHARACTERS = 1 << 20
log = logging.getLogger(__name__)


def encode_texts(
    source: TextSource,
    tokenizer: Any,
    out: Path | str,
    *,
    cache: Path | None = None,
    num_workers: int = 0,
    progress: bool = True,
) -> PackedTokens:
    """Returns the packed tokens of a source, packing what is missing.

    Documents are tokenised without special tokens, and EOS stands behind each one.

    Args:
        source: where the text comes from.
        tokenizer: of transformers.
        out: folder of packed texts; this one becomes a folder in it, named by its key.
        cache: where the source puts what it fetches; None is the default cache.
        num_workers: processes that pack a unit each at a time; 0 packs in this one.
        progress: show a progress bar on stderr, with the time that is left.

    Raises:
        ValueError: an input is missing, the tokenizer has no EOS, or there is no text to train on.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer must have an EOS token to put between documents, but it has none.")
    source.check()
    units = source.units(cache)
    fingerprint = tokenizer_fingerprint(tokenizer)
    key = _key(units, fingerprint)
    folder = Path(out) / key
    if is_finished(folder):
        log.info("The text is packed in %s.", folder)
        return PackedTokens(folder)
    folder.mkdir(parents=True, exist_ok=True)
    packer = _Packer(folder, tokenizer)
    with tqdm(
        total=sum(unit.size for unit in units), unit="B", unit_scale=True, desc="pack", disable=not progress
    ) as bar:
        records = _pack_missing(packer, units, num_workers, bar)
    manifest: dict[str, Any] = {"schema": SCHEMA, "key": key, "source": source.name, "tokenizer": fingerprint}
    manifest |= {"vocabulary": len(tokenizer), "eos": tokenizer.eos_token_id, "dtype": packer.dtype.name}
    manifest |= _totals(records) | {"units": records}
    if not manifest["train"]["tokens"]:
        raise ValueError(f"the text of {source.name} must have documents to train on, but it has none.")
    write_json(folder / MANIFEST, manifest)
    log.info("Packed %s into %s.", _totals(records), folder)
    return PackedTokens(folder)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Returns 16 hex digits for what a tokenizer makes of text: its rules, vocabulary and EOS."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules: Any = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    else:
        rules = json.loads(backend.to_str())
        rules.pop("padding"), rules.pop("truncation")  # the last call's settings
    content = json.dumps([rules, tokenizer.eos_token_id], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _pack_missing(packer: "_Packer", units: list[Unit], num_workers: int, bar: Any) -> list[dict[str, Any]]:
    """Packs the units that are not there yet; returns the record of each unit, in order."""
    records = {number: record for number, unit in enumerate(units) if (record := packer.finished(number, unit))}
    missing = [number for number in range(len(units)) if number not in records]
    bar.update(sum(units[number].size for number in records))
    if not num_workers:
        records |= {number: packer.pack(number, units[number], bar.update) for number in missing}
        return [records[number] for number in range(len(units))]
    # Not forked: a fast tokenizer that has worked on several threads before does not work in a forked process.
    with ProcessPoolExecutor(num_workers, get_context("spawn")) as pool:
        tasks = {pool.submit(packer.pack, number, units[number]): number for number in missing}
        try:
            for task in as_completed(tasks):
                records[tasks[task]] = task.result()
                bar.update(units[tasks[task]].size)
        finally:
            pool.shutdown(cancel_futures=True)
    return [records[number] for number in range(len(units))]


def _key(units: list[Unit], fingerprint: str) -> str:
    content = json.dumps([SCHEMA, [[unit.name, unit.identity] for unit in units], fingerprint])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _totals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns {split: {"documents", "tokens"}} of all units."""
    names = ("documents", "tokens")
    return {split: {name: sum(record[split][name] for record in records) for name in names} for split in SPLITS}


class _Packer:
    """Writes the files of one unit at a time."""

    def __init__(self, folder: Path, tokenizer: Any):
        self.folder = folder
        self.tokenizer = tokenizer
        self.dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)

    def finished(self, number: int, unit: Unit) -> dict[str, Any] | None:
        """Returns the record of a unit that was packed before."""
        path = self.folder / f"{number:05d}.json"
        record = json.loads(path.read_text()) if path.is_file() else None
        return record if record and record["identity"] == unit.identity else None

    def pack(self, number: int, unit: Unit, advance: Callable[[int], Any] | None = None) -> dict[str, Any]:
        """Writes the files of a unit, its record last, and returns that; `advance` is told of what was read."""
        name, before = f"{number:05d}", 0
        record: dict[str, Any] = {"file": name, "part": unit.name, "identity": unit.identity}
        record |= {split: {"documents": 0, "tokens": 0} for split in SPLITS}
        temporary = {split: Path(self._temporary(f"{name}.{split}")) for split in SPLITS}
        try:
            with ExitStack() as stack:
                files = {split: stack.enter_context(path.open("wb")) for split, path in temporary.items()}
                for documents, done in _batches(unit):
                    for document, ids in zip(documents, self._tokenise(documents), strict=True):
                        files[document.split].write(ids.tobytes())
                        record[document.split]["documents"] += 1
                        record[document.split]["tokens"] += len(ids)
                    if advance is not None:
                        advance(done - before)
                    before = done
                for file in files.values():
                    file.flush()
                    os.fsync(file.fileno())
            for split, path in temporary.items():
                share(path)
                path.replace(self.folder / f"{name}.{split}.bin")
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
        write_json(self.folder / f"{name}.json", record)
        return record

    def _temporary(self, name: str) -> str:
        handle, path = tempfile.mkstemp(prefix=f".{name}.", dir=self.folder)
        os.close(handle)
        return path

    def _tokenise(self, documents: list[Document]) -> Iterator[np.ndarray]:
        texts = [document.text for document in documents]
        # verbose: a text longer than the model's context is no mistake here
        for ids in self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            yield np.array([*ids, self.tokenizer.eos_token_id], self.dtype)


def _batches(unit: Unit) -> Iterator[tuple[list[Document], int]]:
    """Yields (some documents, how much of the unit was read by then)."""
    batch: list[Document] = []
    characters = done = 0
    for document, done in unit.read():
        batch.append(document)
        characters += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch, done
            batch, characters = [], 0
    if batch:
        yield batch, done
