"""Decoding and geometry of images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ldc.data.samples import SkippedSampleError
from ldc.data.transforms import centre_square, decode, flips, to_pixels


def encoded(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_image_of_the_right_size_is_only_scaled_to_minus_one_and_one():
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = to_pixels(decode(encoded(Image.fromarray(array))), 8)
    expected = torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(pixels, expected)
    assert (pixels.min() >= -1, pixels.max() <= 1) == (True, True)


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (33, 77)])
def test_short_side_is_resized_and_the_centre_kept(size):
    width, height = size
    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width)[None, :]
    square = centre_square(Image.fromarray(ramp), 16)
    assert square.size == (16, 16)
    assert np.asarray(square)[..., 0].mean() == pytest.approx(127.5, abs=2)


def test_resizing_down_averages_instead_of_picking():
    stripes = np.zeros((32, 32, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = to_pixels(Image.fromarray(stripes), 8)
    assert pixels[:, :, 1:-1].abs().max() < 0.1


def test_flip_mirrors_left_to_right():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    assert torch.equal(to_pixels(image, 8, flip=True), to_pixels(image, 8).flip(-1))


def test_flip_decision_depends_on_seed_and_position_only():
    alone = torch.stack([flips(3, [position])[0] for position in range(100)])
    assert torch.equal(flips(3, range(100)), alone)
    assert 30 < int(alone.sum()) < 70
    assert not torch.equal(flips(4, range(100)), alone)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "RGB"])
def test_every_colour_mode_becomes_rgb(mode):
    image = decode(encoded(Image.new(mode, (4, 4)), "tiff"))
    assert (image.mode, image.size) == ("RGB", (4, 4))


def test_transparency_shows_white():
    assert decode(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_orientation_of_a_photograph_is_respected():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    assert decode(encoded(Image.new("RGB", (8, 4)), "jpeg", exif=exif)).size == (4, 8)


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_corrupt_image_is_skipped_under_its_name(content):
    if content == "cut":
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        content = encoded(Image.fromarray(noise))[:900]
    with pytest.raises(SkippedSampleError, match="sample a must be usable, but: corrupt image") as caught:
        decode(content, "a")
    assert (caught.value.reason, caught.value.name) == ("corrupt image", "a")
