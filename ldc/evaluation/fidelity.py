"""Caption fidelity: does an image's nearest real image show what the prompt asked for?

For each image, the real drawings of its style are ranked by the cosine of their features; the image is right at k if
one of the k nearest shows the prompt's concept. Drawings that are equal pixel by pixel count once, and show every
concept that they are drawn for.

Legend: N generated images, M real images, D feature width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ldc.evaluation.cells import TRAIN, Cell


def hits(features: Tensor, prompts: Sequence[Cell], gallery: Tensor, cells: Sequence[Cell], k: int) -> Tensor:
    """Returns whether each image is right at k, (N,) bool.

    Args:
        features: (N, D) of the generated images.
        prompts: N cells whose captions were the prompts.
        gallery: (M, D) features of all real images.
        cells: M cells of the real images.
        k: how many nearest drawings count.
    """
    right = torch.zeros(len(prompts), dtype=torch.bool)
    for style in {prompt.style for prompt in prompts}:
        asked = [i for i, prompt in enumerate(prompts) if prompt.style == style]
        places, concepts = _drawings(cells, style)
        similarity = F.normalize(features[asked], dim=1) @ F.normalize(gallery[places], dim=1).T  # (asked, drawings)
        nearest = similarity.topk(min(k, len(places)), dim=1).indices.tolist()
        for i, row in zip(asked, nearest, strict=True):
            right[i] = any(prompts[i].concept in concepts[j] for j in row)
    return right


def caption_fidelity(
    features: Tensor, prompts: Sequence[Cell], gallery: Tensor, cells: Sequence[Cell]
) -> dict[str, float]:
    """Returns shares in 0-1: fidelity_top1 and _top5 of all images, and of each split's, as fidelity_top1_train."""
    splits = sorted({prompt.split for prompt in prompts}, key=lambda split: (split != TRAIN, split))
    masks = {f"_{split}": torch.tensor([prompt.split == split for prompt in prompts]) for split in splits}
    figures = {}
    for k in (1, 5):
        right = hits(features, prompts, gallery, cells, k).float()
        figures[f"fidelity_top{k}"] = right.mean().item()
        figures |= {f"fidelity_top{k}{suffix}": right[mask].mean().item() for suffix, mask in masks.items()}
    return figures


def _drawings(cells: Sequence[Cell], style: str) -> tuple[list[int], list[set[str]]]:
    """Returns one place, and all concepts, of each distinct drawing of a style."""
    places: dict[str, int] = {}
    concepts: dict[str, set[str]] = {}
    for place, cell in enumerate(cells):
        if cell.style == style:
            places.setdefault(cell.drawing, place)
            concepts.setdefault(cell.drawing, set()).add(cell.concept)
    return list(places.values()), [concepts[drawing] for drawing in places]
