"""Tables of figures as Markdown and as a picture, and the plot of quality over latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

Row = Mapping[str, Any]
_SPLIT = "fidelity_top1_"  # a split's name follows


def markdown_table(rows: Sequence[Row]) -> str:
    """Returns a Markdown table; columns are the rows' keys in order of first appearance, missing values are blank."""
    columns = _columns(rows)
    lines = [columns, ["---"] * len(columns), *([_text(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def compact_table(rows: Sequence[Row]) -> str:
    """Returns aligned text for a terminal: the figures that one compares by eye; the other columns are in table.json.

    Parameters in millions; MACs of one pass; passes an image; latency in milliseconds; KID and Frechet distance as they
    are measured; caption fidelity as top 1/top 5 of each split. What a row lacks is a dash.
    """
    splits = [name.removeprefix(_SPLIT) for name in _columns(rows) if name.startswith(_SPLIT)]
    shares = [f"top1/top5 {split}" if place == 0 else split for place, split in enumerate(splits)]
    head = ["model", "params", "MACs", "passes", "ms", "KID", "Frechet", *shares]
    lines = [head, *(_compact(row, splits) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    pad = [str.ljust, *[str.rjust] * (len(head) - 1)]
    return "\n".join("  ".join(f(cell, w) for f, cell, w in zip(pad, line, widths, strict=True)) for line in lines)


def _compact(row: Row, splits: Sequence[str]) -> list[str]:
    macs = row.get("macs")
    unit, scale = ("G", 1e9) if macs is not None and macs >= 1e9 else ("M", 1e6)  # noqa: PLR2004 - a giga
    shares = [
        "/".join(_figure_of(row, f"fidelity_{top}_{split}", ".2f") for top in ("top1", "top5")) for split in splits
    ]
    return [
        str(row.get("model", "-")),
        _figure_of(row, "params", ".2f", 1e6, "M"),
        _figure_of(row, "macs", ".1f", scale, unit),
        _figure_of(row, "unet_passes", "d"),
        _figure_of(row, "latency", ".0f", 1e-3),
        _figure_of(row, "kid", ".3f"),
        _figure_of(row, "frechet64", ".1f"),
        *shares,
    ]


def _figure_of(row: Row, name: str, form: str, unit: float = 1, suffix: str = "") -> str:
    value = row.get(name)
    if value is None:
        return "-"
    return f"{value if unit == 1 else value / unit:{form}}{suffix}"


def save_table(rows: Sequence[Row], path: Path, note: str | None = None) -> None:
    """Writes the table as a picture, with a line below it where there is a note.

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
    extent, inches = table.get_window_extent(), figure.dpi_scale_trans.inverted()
    if note is not None:
        left, top = axes.transAxes.inverted().transform((extent.x0, extent.y0 - 4))
        below = axes.text(left, top, note, transform=axes.transAxes, va="top", fontsize=8)
        extent = Bbox.union([extent, below.get_window_extent()])
    extent = extent.transformed(inches)
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
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
