"""Held-out perplexity while pruned models are retrained: over tokens read and over the time it took.

The two panels answer two questions: which retraining gets more out of the same texts, and which out of the same hours.
"""

import csv
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

AXES = {"tokens": "tokens read", "seconds": "seconds of training"}


def read_curve(path: Path | str) -> list[dict[str, float]]:
    """Returns the rows of a `held_out.csv`: step, tokens, seconds, loss (nats a token) and perplexity.

    Raises:
        ValueError: there is no such file, or no row in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"a retraining's curve must be a held_out.csv, but {str(path)!r} does not exist.")
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    if not rows:
        raise ValueError(f"a retraining's curve must have at least one row, but {str(path)!r} has none.")
    return rows


def save_retraining_curves(
    files: Mapping[str, Path | str], path: Path | str, groups: Mapping[str, str] | None = None
) -> Path:
    """Draws the perplexities of several retrainings, a panel over tokens and one over seconds.

    Args:
        files: {name: its held_out.csv}.
        path: of the picture.
        groups: {name: group}; curves of a group, such as seeds of one method, share a colour and one entry in the
            legend. None: each is its own.

    Raises:
        ValueError: there is no curve, or a file holds none.
    """
    curves = {name: read_curve(file) for name, file in files.items()}
    if not curves:
        raise ValueError("curves must be of at least one retraining, not none.")
    of = {name: (groups or {}).get(name, name) for name in curves}
    colours = {group: f"C{number}" for number, group in enumerate(dict.fromkeys(of.values()))}
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    for place, (column, label) in enumerate(AXES.items(), start=1):
        axes = figure.add_subplot(1, len(AXES), place)
        named: set[str] = set()
        for name, rows in curves.items():
            group = of[name]
            _draw(axes, rows, column, colours[group], None if group in named else group)
            named.add(group)
        axes.set(xlabel=label, ylabel="held-out perplexity", yscale="log")
        axes.grid(visible=True, which="both", alpha=0.3)
        if len(colours) > 1:
            axes.legend(fontsize="small")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def at(rows: list[dict[str, float]], column: str, place: float) -> float:
    """Returns the loss, in nats, where `column` (tokens or seconds) is `place`, on the line between two rows.

    Raises:
        ValueError: the curve does not reach so far.
    """
    for before, after in pairwise(rows):
        if before[column] <= place <= after[column]:
            share = (place - before[column]) / max(after[column] - before[column], 1e-12)
            return before["loss"] + share * (after["loss"] - before["loss"])
    raise ValueError(f"{column} must be within the curve, {rows[0][column]:g} to {rows[-1][column]:g}, not {place:g}.")


def _draw(axes: Any, rows: list[dict[str, float]], column: str, colour: str, label: str | None) -> None:
    points = [(row[column], row["perplexity"]) for row in rows]
    axes.plot(*zip(*points, strict=True), marker=".", markersize=4, color=colour, label=label)
