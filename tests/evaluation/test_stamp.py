import dataclasses
import json

import pytest

from ldc.evaluation.stamp import Stamp, compare

STAMP = Stamp("net", "00ff", "bilinear-96", 256, "aa", "bb", 0)


def test_equal_stamps_may_be_compared():
    assert compare(STAMP, json.loads(json.dumps(STAMP.to_json()))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"extractor": "other"}, {"extractor_hash": "0"}, {"resize": "none"}, {"num_images": 1024},
        {"prompts_hash": "0"}, {"real_hash": "0"}, {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_unlike_stamps_are_refused_by_the_field_that_differs(change):
    other = dataclasses.replace(STAMP, **change)
    (name,) = change
    with pytest.raises(ValueError, match=f"^{name} of the stamps must be equal"):
        compare(STAMP, other)


def test_a_stamp_that_lacks_a_field_is_refused():
    lacking = {name: value for name, value in STAMP.to_json().items() if name != "resize"}
    with pytest.raises(ValueError, match="resize of the stamps must be equal"):
        compare(STAMP, lacking)
