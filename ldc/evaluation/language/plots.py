"""Pictures of compressed language models: perplexity over size by method, and speed of depth against width."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = Mapping[str, Any]
PARENT, DEPTH, WIDTH, SAME = "parent", "depth", "width", "same size"
_MARKERS = {PARENT: "*", DEPTH: "o", WIDTH: "s", SAME: "D"}
_COLOURS = {PARENT: "black", DEPTH: "tab:blue", WIDTH: "tab:orange", SAME: "tab:grey"}


def save_perplexity_over_size(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Draws perplexity, logarithmic, over parameters: a panel a text, a line a method, the parent's as a level.

    Args:
        rows: each with "params", "method", "kind" (parent, depth, width, same size) and columns; others are left out.
        columns: names of perplexities.
        path: of the picture.

    Raises:
        ValueError: no row has one of the columns.
    """
    columns = [column for column in columns if any(row.get(column) is not None for row in rows)]
    if not columns:
        raise ValueError("rows must have a perplexity to be drawn, but none does.")
    figure = Figure(figsize=(5.5 * len(columns), 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    palette: Any = colormaps["tab20"]  # there are more methods than colours by default
    for place, column in enumerate(columns, start=1):
        axes = figure.add_subplot(1, len(columns), place)
        axes.set_prop_cycle(color=palette.colors)
        for method, own in _by_method(rows, column).items():
            _draw_method(axes, method, own, column)
        axes.set_yscale("log")
        axes.set(xlabel="parameters, millions", ylabel=column)
        axes.grid(visible=True, which="both", alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def save_speed_over_size(speeds: Sequence[Row], path: Path) -> None:
    """Draws generated tokens a second over parameters, a panel for each batch and length, depth beside width.

    Args:
        speeds: each with "model", "params", "kind", "batch_size", "new_tokens" and "tokens_per_second".
        path: of the picture.

    Raises:
        ValueError: there is no figure to draw.
    """
    rows = [row for row in speeds if row.get("tokens_per_second") is not None]
    cells = sorted({(row["new_tokens"], row["batch_size"]) for row in rows})
    if not cells:
        raise ValueError("speeds must have tokens_per_second to be drawn, but none does.")
    lengths = sorted({length for length, _ in cells})
    across = max(sum(length == one for one, _ in cells) for length in lengths)
    figure = Figure(figsize=(5 * across, 4.2 * len(lengths)), layout="constrained")
    FigureCanvasAgg(figure)
    for line, length in enumerate(lengths):
        for place, batch_size in enumerate([size for one, size in cells if one == length], start=1):
            axes = figure.add_subplot(len(lengths), across, line * across + place)
            _draw_cell(axes, [row for row in rows if (row["new_tokens"], row["batch_size"]) == (length, batch_size)])
            axes.set(xlabel="parameters, millions", ylabel="tokens a second", title=f"M {batch_size}, L {length}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _by_method(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.get(column) is not None:
            found.setdefault(str(row["method"]), []).append(row)
    return found


def _draw_method(axes: Any, method: str, rows: Sequence[Row], column: str) -> None:
    kind = rows[0]["kind"]
    if kind == PARENT:
        axes.axhline(rows[0][column], color=_COLOURS[PARENT], linestyle=":", label=method)
        return
    points = sorted((row["params"] / 1e6, row[column]) for row in rows)
    style = "--" if kind == WIDTH else "-"
    axes.plot(*zip(*points, strict=True), marker=_MARKERS[kind], linestyle=style, markersize=5, label=method)


def _draw_cell(axes: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        x, y, kind = row["params"] / 1e6, row["tokens_per_second"], row["kind"]
        axes.scatter([x], [y], marker=_MARKERS[kind], color=_COLOURS[kind], s=40)
        axes.annotate(str(row["model"]), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7)
    axes.margins(0.25)  # room for the labels
    axes.grid(visible=True, alpha=0.3)
