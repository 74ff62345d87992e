"""Runs data through frozen encoders into the cache, for every stage that encodes."""

from collections.abc import Mapping
from typing import Any

from ldc.data.encode import encode_shards
from ldc.data.encoders import FrozenEncoders
from ldc.runtime.chain import Result
from ldc.runtime.paths import cache_folder
from ldc.runtime.sources import prepared


def encode_data(data: Any, encoders: FrozenEncoders, loader: Mapping[str, Any], *, text: bool, flip: bool) -> Result:
    """Returns the stage's result, whose outputs are the folders of the encoded and of the prepared data.

    Args:
        data: a `data` group's config.
        loader: batch_size, and cache, null for the default one.
    """
    ready = prepared(data, loader["cache"])
    encoded = encode_shards(
        ready.train,
        encoders,
        cache_folder(loader["cache"]) / "latents",
        size=data.size,
        text=text,
        flip=flip,
        filters=ready.filters,
        exclude=ready.excluded,
        skip_limit=data.max_skipped,
        batch_size=loader["batch_size"],
    )
    counts = {"samples": len(encoded), "skipped": encoded.manifest["skipped"], "filtered": encoded.manifest["filtered"]}
    return Result(metrics=counts, outputs={"encoded": str(encoded.folder), "prepared": str(ready.folder)})
