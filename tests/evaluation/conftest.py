"""Thirty-six real drawings: twelve concepts in each of three styles."""

import json
import tarfile
from pathlib import Path

import pytest

from ldc.evaluation.cells import EvaluationSet
from ldc.evaluation.features import efficientnet_lite0, extract

ARCHIVE = Path(__file__).parents[2] / "assets" / "emoji64.tar.xz"
CONCEPTS = 12


@pytest.fixture(scope="session")
def records():
    with tarfile.open(ARCHIVE) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    samples = [json.loads(line) for line in files["samples.jsonl"].splitlines()]
    styles = {}
    for sample in samples:
        if sample["mini"]:
            styles.setdefault(sample["concept"], []).append(sample)
    complete = [rows for rows in styles.values() if len(rows) == 3]
    held_out = [rows for rows in complete if any(row["split"] != "train" for row in rows)]
    train = [rows for rows in complete if rows not in held_out]
    kept = held_out[:4] + train[: CONCEPTS - 4]
    return [{**row, "image": files[f"{row['key']}.webp"]} for rows in kept for row in rows]


@pytest.fixture(scope="session")
def real(records):
    return EvaluationSet.from_records(records)


@pytest.fixture(scope="session")
def extractor():
    return efficientnet_lite0()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder for the features of real images, filled by the first test that needs them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gallery(real, extractor):
    return extract(extractor, real.images)
