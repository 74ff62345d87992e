"""From a `data` group's config to prepared data."""

from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from ldc.data.filters import Filters
from ldc.data.prepare import Prepared, prepare_data
from ldc.data.sources import Source
from ldc.runtime.paths import cache_folder, locate


def data_source(config: Any) -> Source:
    """Returns the configured source; `assets/...` stands for the shipped files."""
    plain: Any = OmegaConf.to_container(config.source, resolve=True, throw_on_missing=True)
    located = {
        key: locate(value) if isinstance(value, str) and key != "_target_" else value for key, value in plain.items()
    }
    return instantiate(located, _convert_="all")


def image_source(config: Any) -> Source:
    """Returns the configured source of images.

    Raises:
        ValueError: the data are text.
    """
    source = data_source(config)
    if not hasattr(source, "resolve"):
        raise ValueError(f"data must be images for this, such as emoji64_mini, folder or shards, not {source.name}.")
    return source


def check_indexed(config: Any) -> None:
    """Checks a source whose samples are numbered.

    Raises:
        ValueError: an input is missing, or the source is read on the fly.
    """
    source = image_source(config)
    if getattr(source, "reader", None) == "streaming":
        raise ValueError(
            "data.source.reader must be indexed for this stage, which reads the data more than once, not streaming."
        )
    source.check()


def prepared(config: Any, cache: str | None = None) -> Prepared:
    """Returns the configured data, prepared in the cache: a second call with the same inputs does nothing."""
    filters = Filters(**config.filters) if config.filters else None
    return prepare_data(image_source(config), cache_folder(cache), filters=filters, max_skipped=config.max_skipped)
