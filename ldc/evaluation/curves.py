"""Plots of figures over a setting, such as guidance or steps: a panel a figure, a curve a model, bars for intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Point(NamedTuple):
    """One figure at one setting; `low` and `high` where there is an interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


Curves = Mapping[str, Sequence[Point]]


def save_curves(panels: Mapping[str, Curves], path: Path, x: str, *, log_x: bool = False) -> None:
    """Draws one panel a figure, side by side.

    Args:
        panels: {label of the vertical axis: {name of a curve: points}}.
        path: of the picture.
        x: label of the horizontal axis.
        log_x: doubled settings stand at equal distances, each labelled.

    Raises:
        ValueError: there is no point to draw.
    """
    panels = {label: {name: points for name, points in curves.items() if points} for label, curves in panels.items()}
    if not any(panels.values()):
        raise ValueError(f"curves over {x} must have at least one point, not none.")
    names = list(next(iter(panels.values())))
    is_shared = all(list(curves) == names for curves in panels.values())  # one legend says it all
    figure = Figure(figsize=(5.5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    for place, (label, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for name, points in curves.items():
            _draw(axes, name, sorted(points))
        if log_x:
            ticks = sorted({point.x for points in curves.values() for point in points})
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set(xlabel=x, ylabel=label)
        axes.grid(visible=True, alpha=0.3)
        if len(curves) > 1 and not is_shared:
            axes.legend(fontsize="small")
    if is_shared and len(names) > 1:
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw(axes: Any, name: str, points: Sequence[Point]) -> None:
    x, y = [point.x for point in points], [point.y for point in points]
    below = [0.0 if point.low is None else max(0.0, point.y - point.low) for point in points]
    above = [0.0 if point.high is None else max(0.0, point.high - point.y) for point in points]
    bars = (below, above) if any(point.low is not None for point in points) else None
    axes.errorbar(x, y, yerr=bars, marker="o", markersize=4, capsize=3, label=name)
