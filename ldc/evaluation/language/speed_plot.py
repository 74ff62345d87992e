"""Picture of the speed of generation: a panel a batch and length, the models in it by name and size, largest first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldc.evaluation.language.dot_chart import HEAD_HEIGHT, LINE_HEIGHT, PARENT, Dot, dot_figure, draw_dots, draw_legend

Row = Mapping[str, Any]
_AIR = 1.2  # of the axis's end to the highest speed


def save_speeds(speeds: Sequence[Row], path: Path) -> None:
    """Draws generated tokens a second: a line of panels a length, a column of them a batch; the parent's as a line.

    Args:
        speeds: each with "model", "params", "kind" (parent, depth, width, same size), "batch_size", "new_tokens", and
            "tokens_per_second" where the model fitted the memory.
        path: of the picture.

    Raises:
        ValueError: there is no figure to draw.
    """
    cells = {(row["new_tokens"], row["batch_size"]) for row in speeds if row.get("tokens_per_second") is not None}
    if not cells:
        raise ValueError("speeds must have tokens_per_second to be drawn, but none does.")
    lengths, batches = (sorted(set(sizes)) for sizes in zip(*cells, strict=True))
    models = {row["model"]: row for row in sorted(speeds, key=lambda row: -row["params"])}
    names = {model: f"{model} ({row['params'] / 1e6:.1f}M)" for model, row in models.items()}
    heights = [LINE_HEIGHT * len(models) + HEAD_HEIGHT] * len(lengths)
    figure, panels = dot_figure(list(names.values()), heights, len(batches))
    for line, length in zip(panels, lengths, strict=True):
        for axes, batch in zip(line, batches, strict=True):
            cell = [row for row in speeds if (row["new_tokens"], row["batch_size"]) == (length, batch)]
            _draw(axes, {row["model"]: row for row in cell}, names, named=batch == batches[0])
            axes.set_title(f"M {batch}, L {length}", fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("tokens a second")
    kinds = list(dict.fromkeys(row["kind"] for row in models.values()))
    if len(kinds) > 1:
        draw_legend(figure, kinds)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw(axes: Any, cell: Mapping[str, Row], names: Mapping[str, str], *, named: bool) -> None:
    rates = {model: row["tokens_per_second"] for model, row in cell.items() if row.get("tokens_per_second") is not None}
    dots = [Dot(name, cell[m]["kind"] if m in cell else PARENT, rates.get(m)) for m, name in names.items()]
    level = next((rates[model] for model, row in cell.items() if row["kind"] == PARENT and model in rates), None)
    draw_dots(axes, dots, (0, _AIR * max(rates.values(), default=1)), level=level, named=named)
    axes.tick_params(axis="x", labelsize=8)
