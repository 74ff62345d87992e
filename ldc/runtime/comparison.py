"""One measurement beside an earlier one: the earlier file, the differences of its figures, and a table of both."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldc.evaluation.tables import markdown_table

# Bounds, spreads and figures that are of the data alone: their differences tell nothing of the models.
_NOT_OF_MODELS = ("acc low", "acc high", "chance", "kid_std", "nearest_training_real")
_SAMPLING = ("steps", "guidance_scale")  # which two models may differ in, and often must: 4 steps against 25
_SIGN = "this minus that"

log = logging.getLogger(__name__)


def read_measurement(path: str | None) -> dict[str, Any] | None:
    """Returns an earlier metrics.json, None where none is named.

    Raises:
        ValueError: the file is not one.
    """
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"compare must be a metrics.json of ldc.evaluate, not {path!r}.") from error
    if not all(isinstance(content, dict) and isinstance(content.get(key), dict) for key in ("metrics", "stamp")):
        raise ValueError(f"compare must be a metrics.json with metrics and stamp, not {path!r}.")
    return {"student": path, **content}


def differences(metrics: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"difference", "difference_is"}: each figure less the other measurement's, and what was taken from what.

    Args:
        metrics: of this measurement.
        other: an earlier one, of `read_measurement`.
    """
    return {
        "difference": _difference(metrics, other["metrics"]),
        "difference_is": f"{_SIGN}, which is {other['student']}",
    }


def comparison_table(
    student: str, metrics: Mapping[str, Any], other: Mapping[str, Any], sampling: Mapping[str, Any] | None = None
) -> str:
    """Returns a table with a line a figure: this model's, the other's, and the difference where it says anything.

    Args:
        student: this model's name.
        metrics: its figures.
        other: an earlier measurement, of `read_measurement`.
        sampling: the steps and guidance of an image model, which come first.
    """
    more = _difference(metrics, other["metrics"])
    mine = {**(sampling or {}), **metrics}
    before = {**{name: other[name] for name in _SAMPLING if name in other}, **other["metrics"]}
    this, that = f"this: {student}", f"that: {other['student']}"
    names = dict.fromkeys([*mine, *before])
    return markdown_table(
        [{"figure": name, this: mine.get(name), that: before.get(name), _SIGN: more.get(name)} for name in names]
    )


def tell_sampling(sampling: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Says where steps or guidance were other ones: the differences are then not of the models alone."""
    unlike = [
        f"{name} {other[name]}, not {sampling[name]}"
        for name in _SAMPLING
        if other.get(name, sampling[name]) != sampling[name]
    ]
    if unlike:
        log.warning("compare was measured with %s.", " and ".join(unlike))


def _difference(metrics: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, float]:
    shared = [name for name in metrics if name not in _NOT_OF_MODELS and _is_number(metrics[name])]
    return {name: metrics[name] - before[name] for name in shared if _is_number(before.get(name))}


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}
