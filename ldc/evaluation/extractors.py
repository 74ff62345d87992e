"""Optional feature extractors, for figures that compare with papers: InceptionV3 and CLIP from local files or a hub.

Their weights are not shipped and can not be had from a package registry. Figures with them carry their fingerprints,
so they never mix with those of the default extractor.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ldc.evaluation.features import Extractor, efficientnet_lite0, file_fingerprint

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def build_extractor(name: str = "efficientnet_lite0", path: str | None = None) -> Extractor:
    """Returns an extractor by name.

    Args:
        name: "efficientnet_lite0", "inception" or "clip".
        path: for "inception" the TorchScript file `inception-2015-12-05.pt` (the FID network, as StyleGAN publishes
            it); for "clip" a folder or hub id of a transformers CLIP model.

    Raises:
        ValueError: an unknown name, or weights that are not there.
    """
    if name == "efficientnet_lite0":
        return efficientnet_lite0()
    if name not in {"inception", "clip"}:
        raise ValueError(f"extractor must be efficientnet_lite0, inception or clip, not {name!r}.")
    if path is None:
        raise ValueError(f"extractor {name!r} must have a path to its weights, not none.")
    return inception(Path(path)) if name == "inception" else clip(path)


class _Inception(nn.Module):
    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, images: Tensor) -> Tensor:
        return self.script(images, return_features=True)


def inception(path: Path) -> Extractor:
    """Returns FID's InceptionV3 (2048 features) from its TorchScript file, which resizes to 299 px by itself.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"extractor 'inception' must have the TorchScript file of the network, not {str(path)!r}.")
    script = torch.jit.load(path, map_location="cpu")
    return Extractor(
        _Inception(script),
        name="inception",
        fingerprint=file_fingerprint(path),
        resize="network-299",
        num_features=2048,
    )


class _Clip(nn.Module):
    def __init__(self, vision: nn.Module, size: int) -> None:
        super().__init__()
        self.vision = vision
        self.size = size
        self.register_buffer("mean", torch.tensor(_CLIP_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_CLIP_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        pixels = F.interpolate(images.float() / 255, size=(self.size, self.size), mode="bicubic", antialias=True)
        return self.vision(pixel_values=(pixels.clamp(0, 1) - self.mean) / self.std).image_embeds


def clip(path_or_id: str) -> Extractor:
    """Returns CLIP's projected image embeddings.

    Raises:
        ValueError: the model can not be loaded.
    """
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection  # noqa: PLC0415 - costs seconds

    try:
        vision = CLIPVisionModelWithProjection.from_pretrained(path_or_id)
    except (OSError, ValueError) as error:
        raise ValueError(f"extractor 'clip' must have a CLIP model's folder or hub id, not {path_or_id!r}.") from error
    size: Any = vision.config.image_size
    return Extractor(
        _Clip(vision, size),
        name="clip",
        fingerprint=_state_fingerprint(vision),
        resize=f"bicubic-antialias-{size}",
        num_features=vision.config.projection_dim,
    )


def _state_fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
