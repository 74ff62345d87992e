"""Draws a sweep's metric over each swept value: a panel a parameter, a point a trial, the best one marked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ldc.runtime.sweeps.file import SweepFile
from ldc.runtime.sweeps.parameters import Parameter

MAX_TICKS = 8  # more values of a grid are not labelled one by one
MAX_LETTERS = 12  # longer names would run into each other
_WIDE_RATIO = 20  # a list of numbers that spans more than this stands on a logarithmic axis


def save_plot(sweep: SweepFile, found: Mapping[str, Any], path: Path) -> Path | None:
    """Writes the picture; returns its path, or None where no trial is finished.

    The axis of a parameter is logarithmic where its distribution is, or where its listed numbers, all positive, lie
    wide apart; texts and lists stand side by side. Trials that failed are counted in the title.
    """
    rows = [row for row in found["trials"] if row["metric"] is not None]
    if not rows:
        return None
    swept = sweep.swept
    figure = Figure(figsize=(max(6.0, 4.5 * len(swept)), 4), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    for place, parameter in enumerate(swept, start=1):
        axes = figure.add_subplot(1, len(swept), place)
        _draw(axes, parameter, rows, found)
        axes.set(xlabel=parameter.name.lstrip("+"), ylabel=found["metric"] if place == 1 else "")
        axes.grid(visible=True, alpha=0.3)
        axes.margins(x=0.08, y=0.1)
    failed = f", {len(found['failed'])} failed" if found["failed"] else ""
    figure.suptitle(f"{found['sweep']}: {len(rows)} trials, {found['method']}{failed}", fontsize="medium")
    figure.axes[-1].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _draw(axes: Axes, parameter: Parameter, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    given = [row["values"][parameter.name] for row in rows]
    numbers = [value for value in map(number, given) if value is not None]
    known = sorted(set(numbers)) if len(numbers) == len(rows) else None
    names = [str(value) for value in parameter.values() or given] if known is None else []
    x: list[float] = numbers if known is not None else [names.index(str(value)) for value in given]
    y = [row["metric"] for row in rows]
    if known is None:
        slanted: dict[str, Any] = {"rotation": 20, "ha": "right"} if max(map(len, names)) > MAX_LETTERS else {}
        axes.set_xticks(range(len(names)), names, **slanted)
    else:
        is_log = parameter.is_log or is_wide(known)
        axes.set_xscale("log" if is_log else "linear")
        if len(known) <= MAX_TICKS and parameter.count is not None:
            axes.set_xticks(known, [f"{value:g}" for value in known])
            axes.minorticks_off()
    alone = len(found["trials"][0]["values"]) == 1 and known is not None
    if alone:  # nothing else differs, so neighbours may be joined
        axes.plot(*zip(*sorted(zip(x, y, strict=True)), strict=True), color="tab:blue", alpha=0.5)
    axes.scatter(x, y, color="tab:blue", zorder=2)
    best = next(place for place, row in enumerate(rows) if row["trial"] == found["best"]["trial"])
    goal = "lowest" if found["goal"] == "minimize" else "highest"
    label = f"{goal}: {y[best]:.4g}"
    axes.scatter([x[best]], [y[best]], marker="*", s=220, color="tab:orange", zorder=3, label=label)


def number(value: Any) -> float | None:
    """Returns a value as a number, None for what is none; YAML's 1e-4 is a text that stands for one."""
    if isinstance(value, bool | list):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def is_wide(numbers: Sequence[float]) -> bool:
    """Whether sorted numbers are positive and span more than a logarithmic axis is needed for."""
    return numbers[0] > 0 and numbers[-1] / numbers[0] >= _WIDE_RATIO
