"""Which samples to leave out by their metadata, under the names that img2dataset and LAION write; counts by reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AESTHETIC = ("AESTHETIC_SCORE", "aesthetic", "aesthetic_score")
WATERMARK = ("pwatermark",)
SIMILARITY = ("similarity",)
WIDTH = ("original_width", "width", "WIDTH")
HEIGHT = ("original_height", "height", "HEIGHT")


@dataclass(frozen=True)
class Filters:
    """Bounds on a sample's metadata; None switches a bound off.

    `min_size` bounds the shorter side, in pixels, of the picture as it was found (original_width x original_height,
    else width x height). A value that is absent, null or not a number is "missing": the sample is kept or dropped.
    """

    min_aesthetic: float | None = None
    max_watermark: float | None = None  # probability, 0 to 1
    min_similarity: float | None = None  # cosine of image and caption
    min_size: int | None = None  # pixels
    missing: str = "keep"  # keep | drop

    def __post_init__(self) -> None:
        if self.missing not in ("keep", "drop"):
            raise ValueError(f"missing must be keep or drop, not {self.missing!r}.")

    def refuses(self, metadata: Mapping[str, Any]) -> str | None:
        """Returns the first reason to leave the sample out ("aesthetic", "missing size" ...), or None to keep it."""
        width, height = _number(metadata, WIDTH), _number(metadata, HEIGHT)
        size = None if width is None or height is None else min(width, height)
        checks = (
            ("aesthetic", _number(metadata, AESTHETIC), self.min_aesthetic, 1),
            ("watermark", _number(metadata, WATERMARK), self.max_watermark, -1),
            ("similarity", _number(metadata, SIMILARITY), self.min_similarity, 1),
            ("size", size, self.min_size, 1),
        )
        for name, value, bound, sign in checks:
            if bound is None:
                continue
            if value is None:
                if self.missing == "drop":
                    return f"missing {name}"
            elif sign * value < sign * bound:
                return name
        return None


def _number(metadata: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        try:
            value = float(metadata[name])
        except (KeyError, TypeError, ValueError):
            continue
        if not math.isnan(value):
            return value
    return None
