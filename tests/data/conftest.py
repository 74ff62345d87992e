"""Small shards, and toy encoders, for the tests of readers and encoding."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250), (9, 9, 9))


@pytest.fixture(scope="session")
def write_shard():
    return _write_shard


@pytest.fixture(scope="session")
def toy_encoders():
    return ToyEncoders


@pytest.fixture(scope="session")
def write_members():
    """Writes a tar of the given {name: bytes}."""

    def write(path, members):
        with tarfile.open(path, "w") as tar:
            for name, content in members.items():
                _add(tar, name, content)
        return path

    return write


@pytest.fixture(scope="session")
def picture():
    """A small PNG file's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(buffer, "png")
    return buffer.getvalue()


def _write_shard(path, keys, *, captions=2, corrupt=()):
    """Writes a tar of 8 x 8 PNGs that are asymmetric, each with some captions and a metadata field."""
    with tarfile.open(path, "w") as tar:
        for key in keys:
            number = int(key)
            pixels = np.full((8, 8, 3), 255, dtype=np.uint8)
            pixels[:, :3] = COLOURS[number % len(COLOURS)]
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "png")
            image = b"not an image" if key in corrupt else buffer.getvalue()
            texts = [f"picture {number} caption {caption}" for caption in range(captions)]
            _add(tar, f"{key}.png", image)
            _add(tar, f"{key}.json", json.dumps({"captions": texts, "number": number}).encode())
    return path


def _add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


class ToyEncoders:
    """A linear encoder to 2 channels at half the size, and text states that tell captions apart; counts its images."""

    scaling_factor = 0.5

    def __init__(self, fingerprint="toy"):
        self.fingerprint = fingerprint
        self.images = 0
        weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        self.weight = weight * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1)

    def moments(self, pixels):
        self.images += len(pixels)
        return torch.nn.functional.conv2d(pixels, self.weight, stride=2)

    def text(self, captions):
        codes = [[sum(caption.encode()) % 97 + place for place in range(6)] for caption in captions]
        return torch.tensor(codes, dtype=torch.float32).view(len(captions), 3, 2)
