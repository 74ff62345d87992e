"""Picture of compressed language models' perplexities: a panel a size, the models in it by name, best first."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ldc.evaluation.language.dot_chart import (
    HEAD_HEIGHT,
    LINE_HEIGHT,
    PARENT,
    Dot,
    dot_figure,
    draw_dots,
    draw_legend,
    short_figure,
)

Row = Mapping[str, Any]
_ZOOM = (
    50  # times the best student's perplexity the axis ends: models that lost their language would squeeze the others
)
_WIDE = 20  # of an axis's end to its start, above which fewer ticks are told
_SAME_SIZE = 0.01  # sizes that differ by less of the larger one share a panel


def save_perplexities(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Draws perplexity, logarithmic: a line of panels a size, largest first, and a column of them a text.

    The parent's is a dotted line in each panel. An axis ends at 50 times the best student's perplexity; what lies
    beyond is an arrow at its edge, with the figure.

    Args:
        rows: each with "model", "params", "kind" (parent, depth, width, same size), perhaps "MB", and columns; those
            without the first of the columns are left out.
        columns: names of perplexities.
        path: of the picture.

    Raises:
        ValueError: no row has one of the columns.
    """
    columns = [column for column in columns if any(row.get(column) is not None for row in rows)]
    if not columns:
        raise ValueError("rows must have a perplexity to be drawn, but none does.")
    groups = _by_size([row for row in rows if row.get(columns[0]) is not None])
    parent: Row = next((row for row in rows if row["kind"] == PARENT), {})
    heights = [LINE_HEIGHT * len(group) + HEAD_HEIGHT for group in groups]
    figure, panels = dot_figure([str(row["model"]) for row in rows], heights, len(columns))
    spans = {column: _span(rows, column) for column in columns}
    for line, group in zip(panels, groups, strict=True):
        for axes, column in zip(line, columns, strict=True):
            axes.set_xscale("log")
            dots = [Dot(name, row["kind"], row.get(column)) for name, row in _named(group, columns[0])]
            draw_dots(axes, dots, spans[column], level=parent.get(column), named=column == columns[0])
            _ticks(axes)
        line[0].set_title(_title(group), loc="left", fontsize=10)
    for axes, column in zip(panels[-1], columns, strict=True):
        axes.set_xlabel(f"{column} (parent {short_figure(parent[column])})" if column in parent else column)
    kinds = dict.fromkeys([PARENT] * bool(parent) + [row["kind"] for group in groups for row in group])
    shown = [(column, row[column]) for group in groups for row in group for column in columns if row.get(column)]
    is_cut = any(not value <= spans[column][1] for column, value in shown)
    draw_legend(figure, list(kinds), f"beyond the axis, more than {_ZOOM} times the best student's" if is_cut else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _is_figure(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _span(rows: Sequence[Row], column: str) -> tuple[float, float]:
    figures = [row for row in rows if _is_figure(row.get(column))]
    values = [row[column] for row in figures] or [1.0]  # where every model is lost, each is an arrow
    best = min((row[column] for row in figures if row["kind"] != PARENT), default=min(values))
    return min(values) / 1.15, min(max(values) * 1.4, best * _ZOOM)


def _by_size(rows: Sequence[Row]) -> list[list[Row]]:
    """Returns the rows of about equal parameters together; a parent that is alone needs no panel where others are."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row["params"]):
        if not groups or row["params"] < groups[-1][0]["params"] * (1 - _SAME_SIZE):
            groups.append([])
        groups[-1].append(row)
    with_students = [group for group in groups if any(row["kind"] != PARENT for row in group)]
    return with_students or groups


def _named(group: Sequence[Row], column: str) -> list[tuple[str, Row]]:
    """Returns the rows with their names, best first; megabytes beside the names where sizes on the disk differ."""
    ordered = sorted(group, key=lambda row: row[column] if _is_figure(row[column]) else math.inf)
    if _shared_megabytes(group) is not None:
        return [(str(row["model"]), row) for row in ordered]
    return [(f"{row['model']} ({row['MB']:g} MB)" if "MB" in row else str(row["model"]), row) for row in ordered]


def _shared_megabytes(group: Sequence[Row]) -> float | None:
    sizes = [row.get("MB", 0) for row in group]
    return sizes[0] if max(sizes) - min(sizes) <= _SAME_SIZE * max(sizes) else None


def _title(group: Sequence[Row]) -> str:
    parts = [f"{group[0]['params'] / 1e6:.1f}M parameters"]
    if "reduction" in group[0]:
        parts.append(f"{group[0]['reduction']:.1%} gone")
    megabytes = _shared_megabytes(group)
    return ", ".join([*parts, f"{megabytes:g} MB"] if megabytes else parts)


def _ticks(axes: Any) -> None:
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > _WIDE * low else (1, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)
