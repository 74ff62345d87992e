"""What is kept of each generated image, so that figures can be resampled without drawing again.

Legend: N images of a setting, M distinct real images of their prompts, D feature width.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldc.evaluation.bootstrap import Sampled, kid, share
from ldc.evaluation.cells import EvaluationSet
from ldc.evaluation.fidelity import hits

FILE = "per_image.npz"
METRICS = ("kid", "fidelity_top1")
LOWER_IS_BETTER = frozenset({"kid"})


@dataclass(frozen=True)
class PerImage:
    """The images of some settings on one set of prompts and noises.

    features: {setting: (N, D) float32}.
    top1: {setting: (N,) bool}, whether the nearest drawing shows the prompt's concept.
    real: (M, D) features of the prompts' real images.
    place: (N,) int64, row of `real` that belongs to each prompt.
    stamp: what the images were measured with (`ldc.evaluation.Stamp`).
    """

    features: Mapping[str, Tensor]
    top1: Mapping[str, Tensor]
    real: Tensor
    place: Tensor
    stamp: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        features: Mapping[str, Tensor],
        chosen: Sequence[int],
        real: EvaluationSet,
        gallery: Tensor,
        stamp: Mapping[str, Any],
    ) -> "PerImage":
        """Returns what is kept of images with these features, whose prompts were the set's cells at `chosen`."""
        distinct = sorted(set(chosen))
        rows = {cell: row for row, cell in enumerate(distinct)}
        prompts = [real.cells[cell] for cell in chosen]
        top1 = {name: hits(value, prompts, gallery, real.cells, 1) for name, value in features.items()}
        place = torch.tensor([rows[cell] for cell in chosen])
        return cls(dict(features), top1, gallery[distinct], place, dict(stamp))

    def save(self, folder: Path) -> Path:
        """Writes `per_image.npz`; returns its path."""
        path, names = folder / FILE, list(self.features)
        arrays: dict[str, Any] = {"real": self.real.numpy(), "place": self.place.numpy()}
        arrays["about"] = np.array(json.dumps({"settings": names, "stamp": dict(self.stamp)}))
        for number, name in enumerate(names):  # names are free text, which a zip's members should not be
            arrays |= {f"features_{number}": self.features[name].numpy(), f"top1_{number}": self.top1[name].numpy()}
        temporary = path.with_name(f".{FILE}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
        return path

    @classmethod
    def load(cls, folder: Path) -> "PerImage":
        """Reads `per_image.npz`.

        Raises:
            ValueError: the folder has none.
        """
        path = folder / FILE
        if not path.is_file():
            raise ValueError(f"{folder} must hold {FILE}, which an evaluation with keep_features=true writes.")
        with np.load(path) as content:
            about = json.loads(str(content["about"]))
            arrays = {name: torch.from_numpy(content[name]) for name in content.files if name != "about"}
        numbered = list(enumerate(about["settings"]))
        return cls(
            {name: arrays[f"features_{number}"] for number, name in numbered},
            {name: arrays[f"top1_{number}"] for number, name in numbered},
            arrays["real"],
            arrays["place"],
            about["stamp"],
        )

    def sampled(self, setting: str, metric: str, counts: Tensor) -> Sampled:
        """Returns one of `METRICS` of a setting, on all prompts and resampled by `counts` (R, N).

        Raises:
            ValueError: the metric is not one that can be resampled.
        """
        if metric == "kid":
            return kid(self.features[setting], self.real, self.place, counts)
        if metric == "fidelity_top1":
            return share(self.top1[setting], counts)
        raise ValueError(f"metric must be {' or '.join(METRICS)}, not {metric!r}.")
