"""The real images that a model is judged against: captioned drawings, each one cell of concept x style.

Legend: M images of the set, n evaluated cells, H x W pixels.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ldc import randomness

TRAIN = "train"
_HELD_OUT_SHARE = 4  # at most 1 / 4 of the evaluated cells are held-out ones


class Cell(NamedTuple):
    """One captioned image of the set."""

    caption: str
    concept: str
    style: str
    split: str  # "train", or a kind of held-out cell
    drawing: str  # digest of the pixels: equal drawings of several concepts are told by it


class EvaluationSet:
    """Real images with what they show."""

    def __init__(self, cells: Sequence[Cell], images: Tensor) -> None:
        self.cells = list(cells)
        self.images = images  # (M, 3, H, W) uint8

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> "EvaluationSet":
        """Reads records {"caption", "image", and optionally "concept", "style", "split"}.

        Args:
            records: `image` is a picture, a file's path or a file's bytes; without a concept the caption is the
                concept, without a style all images are one style, without a split they are training images.

        Raises:
            ValueError: there are no records, or images of several sizes.
        """
        if not records:
            raise ValueError("records must hold at least one image, not none.")
        images = [_pixels(record["image"]) for record in records]
        sizes = sorted({tuple(image.shape[1:]) for image in images})
        if len(sizes) > 1:
            raise ValueError(f"images must be of one size, not {sizes}.")
        cells = [
            Cell(
                caption=record["caption"],
                concept=record.get("concept") or record["caption"],
                style=record.get("style") or "",
                split=record.get("split") or TRAIN,
                drawing=hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16],
            )
            for record, image in zip(records, images, strict=True)
        ]
        return cls(cells, torch.stack(images))

    @cached_property
    def fingerprint(self) -> str:
        """Returns 16 hex digits that stand for every cell and pixel, in order."""
        return digest(str(tuple(cell)) for cell in self.cells)

    def choose(self, n: int) -> list[int]:
        """Returns the places of n cells: held-out ones up to a quarter, then training cells, always in one order.

        Cells repeat only where n exceeds their number.

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}.")
        held_out = self._shuffled(train=False)
        train = self._shuffled(train=True)
        chosen = held_out[: n // _HELD_OUT_SHARE] if train else []
        rest = train or held_out
        return chosen + [rest[i % len(rest)] for i in range(n - len(chosen))]

    def _shuffled(self, *, train: bool) -> list[int]:
        places = [i for i, cell in enumerate(self.cells) if (cell.split == TRAIN) is train]
        order = randomness.permutation(0, "evaluation/cells", 0, len(places))
        return [places[i] for i in order]


def digest(texts: Any) -> str:
    """Returns 16 hex digits that stand for a sequence of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _pixels(image: Any) -> Tensor:
    if isinstance(image, bytes):
        image = io.BytesIO(image)
    if not isinstance(image, Image.Image):
        image = Image.open(Path(image) if isinstance(image, str) else image)
    picture = image.convert("RGB")
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(picture.height, picture.width, 3).permute(2, 0, 1).contiguous()
