"""Figures as dots: a line a model, its name at the left and its figure beside the dot, so that no label overlaps."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

PARENT, DEPTH, WIDTH, SAME = "parent", "depth", "width", "same size"
_BEYOND = "beyond"
LINE_HEIGHT, HEAD_HEIGHT = 0.24, 0.75  # inches of a line, and of what a panel has beside its lines
_MARKERS = {PARENT: "*", DEPTH: "o", WIDTH: "s", SAME: "D", _BEYOND: ">"}
_COLOURS = {PARENT: "black", DEPTH: "tab:blue", WIDTH: "tab:orange", SAME: "tab:grey", _BEYOND: "tab:grey"}
_PANEL_WIDTH, _LETTER_WIDTH = 4.4, 0.075  # inches
_LEGEND_HEIGHT = 0.45
_TURN = 0.7  # share of the axis from which a figure stands at the left of its dot


class Dot(NamedTuple):
    """One model: its name, its kind (parent, depth, width, same size), and its figure, None where there is none."""

    name: str
    kind: str
    value: float | None


def dot_figure(names: Sequence[str], heights: Sequence[float], columns: int) -> tuple[Figure, list[list[Any]]]:
    """Returns a figure and its axes, a list a line of panels.

    Args:
        names: of all models, which the figure leaves room for.
        heights: of each line of panels, inches.
        columns: panels beside each other.
    """
    width = _PANEL_WIDTH * columns + _LETTER_WIDTH * max(map(len, names))
    figure = Figure(figsize=(width, sum(heights) + _LEGEND_HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    return figure, axes.tolist()


def draw_dots(
    axes: Any, dots: Sequence[Dot], span: tuple[float, float], *, level: float | None = None, named: bool = True
) -> None:
    """Draws one panel, the first dot at the top; a figure right of the span is told by an arrow at the panel's edge.

    Args:
        axes: the panel's.
        dots: of it.
        span: lowest and highest figure of the axis, whose scale is set before.
        level: of the parent, drawn as a dotted line.
        named: the names stand at the left.
    """
    axes.set(xlim=span, ylim=(len(dots) - 0.5, -0.5))
    axes.set_yticks(range(len(dots)), [dot.name for dot in dots] if named else [""] * len(dots), fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, which="both", axis="x", alpha=0.25)
    axes.grid(visible=True, axis="y", alpha=0.25)
    if level is not None:
        axes.axvline(level, color=_COLOURS[PARENT], linestyle=":", linewidth=1)
    for place, dot in enumerate(dots):
        if dot.value is not None:
            _draw(axes, place, dot.kind, float(dot.value), span)


def draw_legend(figure: Figure, kinds: Sequence[str], beyond: str = "") -> None:
    """Draws the meaning of the marks below the panels, of the parent its line, and of the arrow where it has one."""
    handles = []
    for kind in [*kinds, *[_BEYOND] * bool(beyond)]:
        marker, line = ("", ":") if kind == PARENT else (_MARKERS[kind], "")
        look: Any = {"marker": marker, "linestyle": line, "color": _COLOURS[kind], "markersize": 6}
        handles.append(Line2D([], [], **look, label=beyond if kind == _BEYOND else kind))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize="small", frameon=False)


def short_figure(value: float) -> str:
    """Returns a figure as one reads it: 22.6, 1,062, 1.2e+08."""
    if value < 100:  # noqa: PLR2004 - three digits tell enough
        return f"{value:.1f}"
    return f"{value:,.0f}" if value < 10**5 else f"{value:.1e}"


def _draw(axes: Any, place: int, kind: str, value: float, span: tuple[float, float]) -> None:
    is_beyond = not value <= span[1]  # so is NaN
    x = span[1] if is_beyond else value
    marker = _MARKERS[_BEYOND if is_beyond else kind]
    axes.plot([x], [place], marker=marker, color=_COLOURS[kind], markersize=6, linestyle="", clip_on=False)
    turned = _share(axes, x, span) > _TURN
    axes.annotate(
        short_figure(value),
        (x, place),
        xytext=(-7 if turned else 7, 0),
        textcoords="offset points",
        ha="right" if turned else "left",
        va="center",
        fontsize=7.5,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5},
    )


def _share(axes: Any, x: float, span: tuple[float, float]) -> float:
    low, here, high = (math.log(v) if axes.get_xscale() == "log" else v for v in (span[0], x, span[1]))
    return (here - low) / (high - low)
