"""Did a paper's direction come out? Decided by the interval of a paired difference, and by nothing else."""

from collections.abc import Mapping

from ldc.evaluation.bootstrap import Estimate
from ldc.evaluation.per_image import LOWER_IS_BETTER, METRICS

EXPECTED = ("better", "worse", "similar")
YES, NO, OPEN = "yes", "no", "not separable"


def verdict(difference: Estimate, metric: str, expected: str | None) -> str | None:
    """Returns "yes", "no" or "not separable" for a difference to the reference; None where nothing is expected.

    An interval that holds 0 separates nothing, so it can contradict "similar" and never prove it.

    Raises:
        ValueError: `expected` is not better, worse, similar or None.
    """
    if expected is None:
        return None
    if expected not in EXPECTED:
        raise ValueError(f"expect must be {', '.join(EXPECTED)} or null, not {expected!r}.")
    if difference.low <= 0.0 <= difference.high:
        return OPEN
    if expected == "similar":
        return NO
    is_better = (difference.value < 0.0) == (metric in LOWER_IS_BETTER)
    return YES if is_better == (expected == "better") else NO


def expectations(expect: str | Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Returns what is expected of each metric: one word for all, or a word by metric.

    Raises:
        ValueError: a word or a metric is unknown.
    """
    by_metric = expect if isinstance(expect, Mapping) else dict.fromkeys(METRICS, expect)
    unknown = [metric for metric in by_metric if metric not in METRICS]
    if unknown:
        raise ValueError(f"expect must be given for {' or '.join(METRICS)}, not {unknown[0]!r}.")
    for word in by_metric.values():
        if word is not None and word not in EXPECTED:
            raise ValueError(f"expect must be {', '.join(EXPECTED)} or null, not {word!r}.")
    return {metric: by_metric.get(metric) for metric in METRICS}
