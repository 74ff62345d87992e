"""Tables of figures as Markdown and as a picture, and the plot of quality over latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = Mapping[str, Any]


def markdown_table(rows: Sequence[Row]) -> str:
    """Returns a Markdown table; columns are the rows' keys in order of first appearance, missing values are blank."""
    columns = _columns(rows)
    lines = [columns, ["---"] * len(columns), *([_text(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def save_table(rows: Sequence[Row], path: Path) -> None:
    """Writes the table as a picture.

    Raises:
        ValueError: there are no rows.
    """
    columns = _columns(rows)
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    figure = _figure(1.3 * len(columns), 0.3 * (len(rows) + 1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    table = axes.table(cellText=cells, colLabels=columns, loc="center", cellLoc="right", edges="horizontal")
    table.auto_set_font_size(value=False)
    table.set_fontsize(9)
    table.auto_set_column_width(list(range(len(columns))))
    figure.canvas.draw()  # only then the table knows its size
    extent = table.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    figure.savefig(path, dpi=150, bbox_inches=extent.padded(0.1))


def save_trade_off(rows: Sequence[Row], path: Path, quality: str = "kid", label: str = "model") -> None:
    """Draws quality over latency, one labelled point a row.

    Args:
        rows: each with "latency" (seconds an image), `quality` and `label`; others are left out.
        path: of the picture.
        quality: key of the vertical axis.
        label: key of the points' names.

    Raises:
        ValueError: no row has both figures.
    """
    points = [row for row in rows if row.get("latency") is not None and row.get(quality) is not None]
    if not points:
        raise ValueError(f"rows must have latency and {quality} to be drawn, but none does.")
    figure = _figure(6, 4)
    axes = figure.add_subplot()
    axes.scatter([row["latency"] for row in points], [row[quality] for row in points])
    for row in points:
        place = (row["latency"], row[quality])
        axes.annotate(str(row.get(label, "")), place, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.margins(0.2)  # room for the labels
    axes.set_xlabel("latency, seconds an image")
    axes.set_ylabel(quality)
    axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot's global state
    return figure


def _columns(rows: Sequence[Row]) -> list[str]:
    if not rows:
        raise ValueError("rows must be at least one, not none.")
    return list(dict.fromkeys(column for row in rows for column in row))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
