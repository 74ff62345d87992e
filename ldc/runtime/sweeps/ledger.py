"""What has become of a sweep's trials, in one file that survives a kill at any moment."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE = "ledger.json"
SCHEMA = 1
FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"


class Ledger:
    """`ledger.json` in a sweep's folder: {trial's id: record}; `running` in a new process means killed."""

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self.records: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            content = json.loads(self.path.read_text())
            if content.get("schema") != SCHEMA:
                raise ValueError(f"{self.path} must have schema {SCHEMA}, not {content.get('schema')!r}.")
            self.records = content["trials"]

    def state(self, trial: str) -> str | None:
        """Returns what became of a trial, None where it has never been begun."""
        return self.records.get(trial, {}).get("state")

    def update(self, trial: str, **facts: Any) -> None:
        """Adds facts to a trial's record and writes the file, whole or not at all."""
        self.records[trial] = {**self.records.get(trial, {}), **facts}
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump({"schema": SCHEMA, "trials": self.records}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Holds the sweep's folder for this agent; gives the lock's descriptor, which a trial's process is to inherit.

    So a trial that outlives a killed agent keeps the folder held, and no second process writes into its run.

    Raises:
        ValueError: another agent, or a trial that one left behind, holds it.
    """
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder} must be free, but another agent, or a trial that a killed one left running, still holds it."
            ) from error
        yield lock.fileno()
