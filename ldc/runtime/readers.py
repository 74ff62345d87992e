"""From a fit's settings to the data module that gives it pixels and captions, where no latents are cached."""

from collections.abc import Mapping
from typing import Any

from ldc.data.module import ImageTextDataModule, StreamDataModule, StreamingDataModule
from ldc.runtime.sources import prepared

STREAMING_ONLY = ("samples_per_shard", "shuffle_buffer")


def pixel_reader(config: Any, online: Mapping[str, Any], cache: str | None, **reading: Any) -> StreamDataModule:
    """Returns the training pixels and captions of a `data` group: by index, or streamed where it says so.

    Args:
        config: the `data` group; its filters apply, and images that do not decode are left out.
        online: flip, and for streamed shards samples_per_shard and shuffle_buffer.
        cache: folder for prepared data; None is the default cache.
        reading: batch_size, seed, caption_dropout, num_workers.
    """
    data = prepared(config, cache)
    common: dict[str, Any] = {
        **reading,
        "size": config.size,
        "flip": online["flip"],
        "filters": data.filters,
        "max_skipped": config.max_skipped,
    }
    if data.streaming:
        settings = {name: online[name] for name in STREAMING_ONLY}
        return StreamingDataModule([str(url) for url in data.train], **common, **settings)
    return ImageTextDataModule(data.train, **common, exclude=data.excluded, cache=data.cache)


def is_streaming(source: Any) -> bool:
    """Returns whether a source's training shards are read on the fly."""
    return getattr(source, "reader", None) == "streaming"


def check_online(online: Mapping[str, Any]) -> None:
    """Raises ValueError for settings of online encoding that cannot be."""
    for name in STREAMING_ONLY:
        if online[name] < 1:
            raise ValueError(f"online.{name} must be at least 1, not {online[name]}.")
