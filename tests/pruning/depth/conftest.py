"""What the official scripts gave on the tiny Llama, and the tokens that they gave it on."""

import json
import random
from pathlib import Path

import pytest

from ldc.data.text import Calibration
from ldc.data.text.calibration import draw_crops, fingerprint

GOLDEN = Path(__file__).parents[2] / "golden" / "shortened_llama.json"


@pytest.fixture(scope="session")
def golden():
    """{"golden": {"kv4" | "kv2": {"mag", "taylor", "ppl", "base_ppl"}}, "official_orders": {...}}."""
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="session")
def published():
    """The official scripts' calibration set on the tiny Llama: 10 crops of 32 of 40 random rows."""
    numbers = random.Random(5)  # noqa: S311 - as the rows were made
    rows = [[1] + [numbers.randint(3, 255) for _ in range(numbers.randint(20, 200))] for _ in range(40)]
    ids = draw_crops(rows.__getitem__, len(rows), num_samples=10, length=32)
    return Calibration(ids, fingerprint(ids))
