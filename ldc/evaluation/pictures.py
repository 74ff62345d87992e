"""Pictures of samples: grids, and comparison sheets of labelled settings (rows) over captioned prompts (columns)."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ldc.models.generate import to_picture

Picture = Image.Image
_GAP = 4
_FONT_SIZE = 13
_LINE = _FONT_SIZE + 3
_MOST_LINES = 4


def pictures(images: Tensor) -> list[Picture]:
    """Returns the pictures of uint8 images (N, 3, H, W).

    Raises:
        ValueError: the images are not uint8.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8, not {images.dtype}.")
    return [to_picture(image) for image in images]


def grid(images: Tensor | Sequence[Picture], columns: int | None = None, scale: int = 1) -> Picture:
    """Returns all images on one white sheet, row by row.

    Args:
        images: of one size.
        columns: about square where None.
        scale: factor of enlargement.

    Raises:
        ValueError: there are no images.
    """
    tiles = _enlarged(images, scale)
    if not tiles:
        raise ValueError("images must be at least one, not none.")
    columns = columns or round(len(tiles) ** 0.5) or 1
    width, height = (side + _GAP for side in tiles[0].size)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (_GAP + i % columns * width, _GAP + i // columns * height))
    return sheet


def comparison(
    rows: Sequence[tuple[str, Tensor | Sequence[Picture]]], captions: Sequence[str], scale: int = 2
) -> Picture:
    """Returns a sheet with one labelled row a setting and one captioned column a prompt.

    Args:
        rows: (label, images), as many images as captions.
        captions: the prompts.
        scale: factor of enlargement.

    Raises:
        ValueError: there are no rows, or a row has another number of images than there are captions.
    """
    if not rows or not captions:
        raise ValueError(f"a comparison must have rows and captions, not {len(rows)} and {len(captions)}.")
    for label, images in rows:
        if len(images) != len(captions):
            raise ValueError(f"row {label!r} must have {len(captions)} images, not {len(images)}.")
    font = ImageFont.load_default(_FONT_SIZE)
    tiles = [_enlarged(images, scale) for _, images in rows]
    width, height = (side + _GAP for side in tiles[0][0].size)
    left = max(round(font.getlength(label)) for label, _ in rows) + 4 * _GAP
    headings = [_wrapped(caption, font, width - 2 * _GAP) for caption in captions]
    top = max(len(lines) for lines in headings) * _LINE + 2 * _GAP
    sheet = Image.new("RGB", (left + len(captions) * width + _GAP, top + len(rows) * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(headings):
        draw.text((left + column * width, top - len(lines) * _LINE - _GAP), "\n".join(lines), "black", font, spacing=3)
    for row, (label, _) in enumerate(rows):
        y = top + row * height
        draw.text((2 * _GAP, y + height // 2), label, "black", font, anchor="lm")
        for column, tile in enumerate(tiles[row]):
            sheet.paste(tile, (left + column * width, y))
    return sheet


def _enlarged(images: Tensor | Sequence[Picture], scale: int) -> list[Picture]:
    tiles = pictures(images) if isinstance(images, Tensor) else list(images)
    if scale == 1:
        return tiles
    return [tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.BICUBIC) for tile in tiles]


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Returns the lines of a caption that fit the width, at most four; what is left out shows as an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1] + "…"]
