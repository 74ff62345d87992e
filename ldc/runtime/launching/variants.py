"""The runs of an array: all combinations of the values that `array.KEY=[...]` gives."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ldc.runtime.arguments import PATHS, TEXTS, quote

_PLAIN = re.compile(r"[\w./:+-]+")  # what Hydra's grammar leaves as it is


def variants(array: DictConfig) -> Iterator[dict[str, str]]:
    """Yields each run's settings, as `ldc.train` takes them; nothing where no values are given.

    Raises:
        ValueError: a key's values are no list, or none.
    """
    values = dict(_dotted(OmegaConf.to_container(array, resolve=True)))
    if values:
        yield from (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


def label(variant: Mapping[str, str]) -> str:
    """Returns a run name's part: each key's last word with its value, without what a path or a shell minds."""
    text = "-".join(f"{key.rpartition('.')[2]}{value}" for key, value in variant.items())
    return re.sub(r"[^\w.-]+", "_", text)


def value_of(name: str, value: Any) -> str:
    """Returns what stands behind `name=` on the command line of `ldc.train`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    plain = not isinstance(value, str) or name in {*TEXTS, *PATHS} or _PLAIN.fullmatch(text)
    return text if plain else quote(text)


def _dotted(array: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    for key, values in array.items():
        name = f"{prefix}{key}"
        if isinstance(values, Mapping):
            yield from _dotted(values, f"{name}.")
        elif values is not None:
            if not isinstance(values, list) or not values:
                raise ValueError(f"array.{name} must be a list of at least one value, not {values!r}.")
            yield name, [value_of(name, value) for value in values]
