"""Draws the loss curves of a fit from its CSV log."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ldc.training.csv_log import read

SKIPPED = ("train/lr",)
MAX_CURVES = 12  # more are not told apart by colour; the first columns are the sums


def loss_curves(log: Path, out: Path) -> Path | None:
    """Writes a plot of every `train/` loss over optimizer steps; returns its path, or None without any row.

    The axis of losses is logarithmic, so only positive values show.
    """
    rows = read(log)
    names = [name for name in (rows[0] if rows else ()) if name.startswith("train/") and name not in SKIPPED]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.add_subplot()
    for name in names[:MAX_CURVES]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axes.plot(*zip(*points, strict=True), marker=".", markersize=3, label=name.removeprefix("train/"))
    if not names:
        return None
    axes.set(xlabel="optimizer step", ylabel="loss", yscale="log")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    return out
