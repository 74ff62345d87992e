"""The criteria of Shortened LLaMA by name (Kim et al. 2024, arXiv 2402.02834)."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ldc.pruning.depth.criterion import Criterion
from ldc.pruning.depth.magnitude import Magnitude
from ldc.pruning.depth.perplexity import Perplexity
from ldc.pruning.depth.taylor import Taylor

CRITERIA: dict[str, Any] = {kind.name: kind for kind in (Magnitude, Taylor, Perplexity)}


def build_criterion(name: str, settings: Mapping[str, Any] | None = None) -> Criterion:
    """Returns the criterion of this name.

    Raises:
        ValueError: there is no such criterion, or it has no such setting, or not with this value.
    """
    if name not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, not {name!r}.")
    given = dict(settings or {})
    known = [each.name for each in fields(CRITERIA[name])]
    for setting in given:
        if setting not in known:
            raise ValueError(f"settings of {name} must be of {', '.join(known)}, not {setting!r}.")
    return CRITERIA[name](**given)
