"""Plot of block scores over depth: a panel a criterion, blocks that may be protected shaded, the whole model dashed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_SPREAD = 30  # of the largest to the smallest score, above which the axis is logarithmic


def save_depth_plot(
    scores: Mapping[str, Sequence[float]],
    path: Path,
    *,
    protect_first: int = 0,
    protect_last: int = 0,
    bases: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Draws the scores of all blocks.

    Args:
        scores: {criterion: one score a block, first block first}.
        path: of the picture.
        protect_first: blocks at the start, shaded: they stay under pruners with this setting, others may take them.
        protect_last: of the end, as well.
        bases: {criterion: the whole model's figure}.
        title: above the panels.

    Raises:
        ValueError: there are no scores, or the criteria scored unlike numbers of blocks.
    """
    sizes = {len(values) for values in scores.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"scores must be of one number of blocks from 1 for every criterion, not {sorted(sizes)}.")
    number = sizes.pop()
    figure = Figure(figsize=(7, 0.5 + 2.4 * len(scores)), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    figure.suptitle(title)
    for place, (criterion, values) in enumerate(scores.items(), start=1):
        axes = figure.add_subplot(len(scores), 1, place)
        _shade(axes, number, protect_first, protect_last)
        axes.plot(range(number), values, marker="o", markersize=4)
        if bases and criterion in bases:
            axes.axhline(bases[criterion], color="black", linestyle="--", linewidth=1, label="whole model")
            axes.legend(fontsize="small")
        if min(values) > 0 and max(values) > _SPREAD * min(values):
            axes.set_yscale("log")
        axes.set(ylabel=criterion, xlim=(-0.5, number - 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
    figure.axes[-1].set_xlabel("block" + _rule(protect_first, protect_last))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _rule(first: int, last: int) -> str:
    """Returns what the shade means: scores do not know of the pruners that read them, some of which protect nothing."""
    if not first and not last:
        return ""
    return f" (shaded: never removed by a pruner with protect_first={first} and protect_last={last})"


def _shade(axes: Any, number: int, first: int, last: int) -> None:
    for start, end in ((0, min(first, number)), (max(0, number - last), number)):
        if end > start:
            axes.axvspan(start - 0.5, end - 0.5, color="tab:gray", alpha=0.2, linewidth=0)
