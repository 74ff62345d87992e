"""The real images that a model is judged by, from a `data` group's config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldc.data.transforms import centre_square, decode
from ldc.diffusion.sampling import default_method
from ldc.evaluation import EvaluationSet
from ldc.evaluation.evaluate import make_stamp
from ldc.evaluation.features import efficientnet_lite0
from ldc.runtime.paths import cache_folder
from ldc.runtime.sources import prepared


def evaluation_set(config: Any, cache: str | None = None) -> EvaluationSet:
    """Returns training and held-out images of the data with their captions and cells."""
    data = prepared(config, cache)
    records = []
    for split in ("train", *data.held_out):
        samples = data.samples(split)
        for number, record in enumerate(samples.records()):
            image = centre_square(decode(samples.sample(number)["image"], record["key"]), config.size)
            records.append({"split": split, **record, "image": image})
    return EvaluationSet.from_records(records)


def expected_stamp(real: EvaluationSet, num_images: int, seed: int) -> dict[str, Any]:
    """Returns the stamp that a measurement with these settings will bear, before any image is drawn."""
    captions = [real.cells[place].caption for place in real.choose(num_images)]
    return make_stamp(real, captions, efficientnet_lite0(), seed).to_json()


def feature_cache(cache: str | None) -> Path:
    """Returns the folder that keeps the features of real images."""
    return cache_folder(cache) / "features"


def default_steps(scheduler_config: Mapping[str, Any]) -> int:
    """Returns 4 for a model that is sampled by consistency, 25 otherwise."""
    return 4 if default_method(scheduler_config) == "lcm" else 25
