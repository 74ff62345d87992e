"""Measures a model against the real images of an evaluation set.

Legend: M real images, N generated images, H x W pixels, D feature width.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ldc.evaluation.cells import TRAIN, EvaluationSet, digest
from ldc.evaluation.distances import frechet64, kid, nearest_distance
from ldc.evaluation.features import Extractor, efficientnet_lite0, extract
from ldc.evaluation.fidelity import caption_fidelity
from ldc.evaluation.stamp import Stamp
from ldc.models.generate import render
from ldc.models.latent_diffusion import LatentDiffusion

_LOG = logging.getLogger(__name__)

Renderer = Callable[[Sequence[str], Sequence[int]], Tensor]
"""Maps N captions and their places in the stream of noises to uint8 images (N, 3, H, W)."""


class Evaluation(TypedDict):
    """What `evaluate` returns; `metrics` and `stamp` are JSON."""

    metrics: dict[str, float]
    stamp: dict[str, str | int]
    images: Tensor  # (N, 3, H, W) uint8
    captions: list[str]
    features: Tensor  # (N, D) float32


def evaluate(
    model: LatentDiffusion | Renderer,
    real: EvaluationSet,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
    seed: int = 0,
    n: int = 256,
    batch_size: int = 32,
    extractor: Extractor | None = None,
    cache: Path | None = None,
    text: Mapping[str, Tensor] | None = None,
) -> Evaluation:
    """Draws n images for the set's captions and measures them.

    Args:
        model: a model with `steps` and `guidance_scale`, or a function that draws the images.
        real: the set; the cells drawn are `real.choose(n)`, the same for every model.
        steps: sampling steps of a model.
        guidance_scale: of a model, its default where None.
        seed: of all noise.
        n: images to draw, at least 4.
        batch_size: images of one pass.
        extractor: EfficientNet-Lite0 where None.
        cache: folder that keeps the features of real images between calls.
        text: states of captions (`ldc.models.generate.embed`), to encode them once for many settings.

    Raises:
        ValueError: n is below 4, a model comes without steps, or a setting of the model is out of range.
    """
    if n < 4:  # noqa: PLR2004 - see kid
        raise ValueError(f"n must be at least 4, not {n}.")
    chosen = real.choose(n)
    captions = [real.cells[i].caption for i in chosen]
    if isinstance(model, LatentDiffusion):
        if steps is None:
            raise ValueError("steps must be given for a model, not none.")
        settings = {"guidance_scale": guidance_scale, "seed": seed, "batch_size": batch_size, "text": text}
        images = render(model, captions, steps=steps, indices=range(n), **settings)
    else:
        images = model(captions, range(n))
    extractor = efficientnet_lite0() if extractor is None else extractor
    gallery = real_features(real, extractor, cache)
    features = extract(extractor, images)
    return Evaluation(
        metrics=measure(features, chosen, real, gallery),
        stamp=make_stamp(real, captions, extractor, seed).to_json(),
        images=images,
        captions=captions,
        features=features,
    )


def measure(features: Tensor, chosen: Sequence[int], real: EvaluationSet, gallery: Tensor) -> dict[str, float]:
    """Returns all figures of generated images.

    Args:
        features: (N, D) of the generated images.
        chosen: N places of the cells whose captions were the prompts.
        real: the set.
        gallery: (M, D) features of the set's images.
    """
    evaluated = gallery[sorted(set(chosen))]  # the distances are to exactly the cells that were drawn
    training = torch.tensor([cell.split == TRAIN for cell in real.cells])
    figures = kid(features, evaluated)
    figures["frechet64"] = frechet64(features, evaluated)
    figures |= caption_fidelity(features, [real.cells[i] for i in chosen], gallery, real.cells)
    if training.any():
        figures["nearest_training"] = nearest_distance(features, gallery[training])
        if not training.all():  # what the figure above would be for new real images
            figures["nearest_training_real"] = nearest_distance(gallery[~training], gallery[training])
    return figures


def make_stamp(real: EvaluationSet, captions: Sequence[str], extractor: Extractor, seed: int) -> Stamp:
    """Returns the stamp of a measurement."""
    return Stamp(
        extractor=extractor.name,
        extractor_hash=extractor.fingerprint,
        resize=extractor.resize,
        num_images=len(captions),
        prompts_hash=digest(captions),
        real_hash=real.fingerprint,
        seed=seed,
    )


def real_features(real: EvaluationSet, extractor: Extractor, cache: Path | None = None) -> Tensor:
    """Returns the features of the set's images, (M, D), from the cache folder where they are there."""
    if cache is None:
        return extract(extractor, real.images)
    key = digest([real.fingerprint, extractor.name, extractor.fingerprint, extractor.resize])
    path = cache / f"features-{key}.npz"
    if path.is_file():
        with np.load(path) as content:
            return torch.from_numpy(content["features"])
    _LOG.info("Extracting features of %d real images.", len(real.cells))
    features = extract(extractor, real.images)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, features=features.numpy())
    temporary.replace(path)
    return features
