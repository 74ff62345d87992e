"""The files of an evaluation of language models: tables, plots, and what each model makes of the same prompts."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldc.evaluation.language.dot_chart import DEPTH, PARENT, SAME, WIDTH
from ldc.evaluation.language.perplexity_plot import save_perplexities
from ldc.evaluation.language.speed_plot import save_speeds
from ldc.evaluation.tables import markdown_table, save_table

log = logging.getLogger(__name__)
Row = dict[str, Any]
_APART = "stamp"


def compare_with_parent(row: Row, parent: Mapping[str, int], *, is_parent: bool) -> Row:
    """Returns a row with `kind` and `reduction`, the true share of the parent's parameters that is gone.

    Args:
        row: with "params" and "blocks".
        parent: the parent's.
        is_parent: the row is the parent's own.
    """
    kind = PARENT if is_parent else SAME
    if row["blocks"] < parent["blocks"]:
        kind = DEPTH
    elif row["params"] < parent["params"]:
        kind = WIDTH
    head = {name: row[name] for name in ("model", "method")}
    return {**head, "kind": kind, **row, "reduction": 1 - row["params"] / parent["params"]}


def with_speeds(rows: Sequence[Row], speeds: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Returns the rows with each (M, L)'s tokens a second, and the speeds with what a row tells of their model.

    `times parent` is the throughput over the parent's at the same (M, L), where the parent was timed.
    """
    by_label = {row["model"]: row for row in rows}
    base = {
        (speed["batch_size"], speed["new_tokens"]): speed.get("tokens_per_second")
        for speed in speeds
        if by_label[speed["model"]]["kind"] == PARENT
    }
    rows, found = [dict(row) for row in rows], []
    merged = {row["model"]: row for row in rows}
    for speed in speeds:
        cell = speed["batch_size"], speed["new_tokens"]
        told = {name: by_label[speed["model"]][name] for name in ("params", "kind")}
        rate, parents = speed.get("tokens_per_second"), base.get(cell)
        times = {"times parent": rate / parents} if rate and parents else {}
        found.append({"model": speed["model"], **told, **speed, **times})
        row = merged[speed["model"]]
        for name, column in (("", "tokens/s"), ("prefill_", "prefill/s"), ("decode_", "decode/s")):
            row[f"{column} M {cell[0]} L {cell[1]}"] = speed.get(f"{name}tokens_per_second")
    return rows, found


def write_report(
    rows: Sequence[Row],
    speeds: Sequence[Row],
    samples: Mapping[str, Sequence[str]],
    prompts: Sequence[str],
    folder: Path,
    quantised: str | None = None,
) -> list[Row]:
    """Writes table.json, table.md, table.png, plots and samples.txt into the folder; returns the rows with speeds.

    Args:
        rows: of `compare_with_parent`.
        speeds: of every timed model and (M, L).
        samples: continuations of the prompts by the model's label.
        prompts: of the samples.
        folder: made where it is not there.
        quantised: what the parent's weights had been through, said below the tables; None: nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, speeds = with_speeds(rows, speeds)
    figures = {"models": rows, "speeds": speeds, "parent_quantised": quantised}
    (folder / "table.json").write_text(json.dumps(figures, indent=2))
    tables = [_shown(rows)] + [_shown(speeds)] * bool(speeds)
    note = None if quantised is None else f"The parent's weights had been through {quantised} before all this."
    below = [] if note is None else [f"{note}\n"]
    (folder / "table.md").write_text("\n".join([*map(markdown_table, tables), *below]))
    save_table([_compact(row) for row in rows], folder / "table.png", note)
    columns = [column for column in rows[0] if column.startswith("ppl ")]
    columns = [column for column in columns if not column.endswith(")")] or columns  # one convention tells the curve
    save_perplexities(rows, columns, folder / "perplexity.png")
    if any(speed.get("tokens_per_second") for speed in speeds):
        save_speeds(speeds, folder / "speed.png")
    if prompts:
        write_samples(samples, prompts, folder / "samples.txt")
    log.info("\n%s\nAll figures: %s", markdown_table([_compact(row) for row in rows]), folder / "table.md")
    return rows


def write_samples(samples: Mapping[str, Sequence[str]], prompts: Sequence[str], path: Path) -> None:
    """Writes every prompt with each model's continuation below it."""
    parts = []
    for place, prompt in enumerate(prompts):
        lines = [f"[{label}] {' '.join(texts[place].split())}" for label, texts in samples.items()]
        parts.append("\n".join([prompt, *lines]))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _shown(rows: Sequence[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != _APART} for row in rows]


def _compact(row: Row) -> Row:
    """The columns that one compares by eye; figures as short texts."""
    found: Row = {"model": row["model"], "params": f"{row['params'] / 1e6:.1f}M", "gone": f"{row['reduction']:.1%}"}
    found |= {"MB on disk": f"{row['MB']:.1f}"} if "MB" in row else {}  # all that quantising gains
    found |= {key: f"{value:.4g}" for key, value in row.items() if key.startswith("ppl ")}
    if "acc" in row:
        found["acc [95 %]"] = f"{row['acc']:.3f} [{row['acc low']:.3f}, {row['acc high']:.3f}]"
        found["acc_norm"] = f"{row['acc_norm']:.3f}"
    return found | {key: f"{value:.4g}" for key, value in row.items() if key.startswith("tokens/s") and value}
