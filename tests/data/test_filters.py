"""Filters by metadata, on the keys that img2dataset and LAION write."""

import pytest

from ldc.data.filters import Filters

GOOD = {"AESTHETIC_SCORE": 6.1, "pwatermark": 0.1, "similarity": 0.32, "original_width": 800, "original_height": 600}
BOUNDS = Filters(min_aesthetic=6, max_watermark=0.5, min_similarity=0.3, min_size=512, missing="drop")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"AESTHETIC_SCORE": 5.9}, "aesthetic"),
        ({"pwatermark": 0.51}, "watermark"),
        ({"similarity": 0.29}, "similarity"),
        ({"original_height": 511}, "size"),
        ({"AESTHETIC_SCORE": None}, "missing aesthetic"),
        ({"pwatermark": float("nan")}, "missing watermark"),
        ({"similarity": "none"}, "missing similarity"),
        ({"AESTHETIC_SCORE": None, "aesthetic": "6.4"}, None),
    ],
)
def test_sample_is_refused_for_the_first_bound_it_breaks(changed, reason):
    assert BOUNDS.refuses(GOOD | changed) == reason


def test_bounds_themselves_are_kept():
    exact = {"aesthetic": 6, "pwatermark": 0.5, "similarity": 0.3, "width": 512, "height": 512}
    assert BOUNDS.refuses(exact) is None


def test_original_size_goes_before_the_stored_one():
    stored = {"original_width": 256, "original_height": 300, "width": 512, "height": 512}
    assert Filters(min_size=512).refuses(stored) == "size"


def test_missing_values_are_kept_by_default():
    assert Filters(min_aesthetic=6, max_watermark=0.5, min_similarity=0.3, min_size=512).refuses({}) is None


def test_no_bound_refuses_nothing():
    assert Filters(missing="drop").refuses({}) is None


def test_unknown_choice_for_missing_values_is_refused():
    with pytest.raises(ValueError, match=r"^missing must be keep or drop, not 'ignore'\.$"):
        Filters(missing="ignore")
