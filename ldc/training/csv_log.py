"""A CSV log that goes on where a resumed fit goes on: rows after the checkpoint's step are replaced, not repeated."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

FILE = "metrics.csv"


class CSVLog(Logger):
    """Writes `metrics.csv` with one row a log step: `step`, then each metric; a cell is empty where a row has none.

    Lightning's own CSVLogger deletes the file of an interrupted run.
    """

    def __init__(self, folder: Path | str):
        super().__init__()
        self.path = Path(folder) / FILE
        self._columns = ["step"]
        self._is_open = False  # whether this run has written a row

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the run's folder holds the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": str(step or 0), **{name: repr(float(value)) for name, value in metrics.items()}}
        if self._is_open and row.keys() <= set(self._columns):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            return
        # The first row of a run, or a new metric: the rows up to this step are kept, and the header may grow.
        rows = [old for old in read(self.path) if self._is_open or int(old["step"]) < int(row["step"])]
        self._columns = list(dict.fromkeys(name for line in [*rows, row] for name in line))
        self._write([*rows, row])
        self._is_open = True

    def _write(self, rows: list[dict[str, str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path)


def read(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV log, none where there is no file; a last row cut short by a kill is left out."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and row["step"].isdigit()]
