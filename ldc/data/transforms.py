"""From an image file's bytes to pixels: decode, resize the short side, crop the centre, flip, scale to [-1, 1]."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ldc import randomness
from ldc.data.samples import SkippedSampleError


def decode(content: bytes, name: str = "image") -> Image.Image:
    """Returns the RGB image, turned as its EXIF orientation says; transparency shows white.

    Raises:
        SkippedSampleError: "corrupt image" (also a cut one, or one so large that Pillow refuses it).
    """
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SkippedSampleError("corrupt image", name) from error


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Returns the size x size centre of the image after its short side became `size` (bilinear, antialiased)."""
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_pixels(image: Image.Image, size: int, *, flip: bool = False) -> Tensor:
    """Returns the image's centre as float32 in [-1, 1], (3, size, size), mirrored left to right when `flip`."""
    square = centre_square(image, size)
    if flip:
        square = ImageOps.mirror(square)
    array = np.array(square, dtype=np.float32)  # (size, size, 3)
    return torch.from_numpy(array / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def flips(seed: int, positions: Tensor | Sequence[int]) -> Tensor:
    """Returns which positions of the stream are mirrored, bool (B,): a fair coin."""
    return randomness.integers(seed, "flip", positions, high=2).bool()
