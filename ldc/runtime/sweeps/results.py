"""What a sweep's trials came to: rows, the best one, a table, and a picture of the metric over each swept value."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldc.evaluation.tables import markdown_table
from ldc.runtime.sweeps.file import SweepFile
from ldc.runtime.sweeps.ledger import FAILED, FINISHED, Ledger
from ldc.runtime.sweeps.plot import save_plot
from ldc.runtime.sweeps.trials import Trial


def results(sweep: SweepFile, trials: Sequence[Trial], ledger: Ledger) -> dict[str, Any]:
    """Returns {"metric", "goal", "best", "trials", "failed"}; `best` is None where no trial is finished."""
    rows = [_row(trial, ledger.records.get(trial.id, {})) for trial in trials]
    finished = [row for row in rows if row["state"] == FINISHED]
    sign = -1 if sweep.goal == "maximize" else 1
    best = min(finished, key=lambda row: sign * row["metric"], default=None)
    return {
        "sweep": sweep.name,
        "method": sweep.method,
        "metric": sweep.metric,
        "goal": sweep.goal,
        "best": None if best is None else {**best, "command": trials[best["trial"] - 1].command},
        "trials": rows,
        "failed": [row["trial"] for row in rows if row["state"] == FAILED],
    }


def _row(trial: Trial, record: Mapping[str, Any]) -> dict[str, Any]:
    facts = {key: record.get(key) for key in ("metric", "seconds", "run", "error")}
    return {"trial": trial.number, "values": trial.values, "state": record.get("state", "not begun"), **facts}


def write_results(sweep: SweepFile, found: Mapping[str, Any], folder: Path) -> dict[str, str | None]:
    """Writes results.json, table.md and, where a trial is finished, sweep.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=2))
    (folder / "table.md").write_text(table(found))
    picture = save_plot(sweep, found, folder / "sweep.png")
    paths = {"results": folder / "results.json", "table": folder / "table.md", "picture": picture}
    return {name: None if path is None else str(path) for name, path in paths.items()}


def table(found: Mapping[str, Any]) -> str:
    """Returns the trials as a Markdown table, the best one marked."""
    best = found["best"]["trial"] if found["best"] else None
    return markdown_table(
        [
            {
                "trial": row["trial"],
                **{name: str(value) if isinstance(value, list) else value for name, value in row["values"].items()},
                found["metric"]: row["metric"],
                "state": "finished, best" if row["trial"] == best else row["state"],
                "seconds": row["seconds"],
            }
            for row in found["trials"]
        ]
    )
