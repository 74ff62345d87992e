"""Runs a sweep's trials one after the other, each as a process of its own, and goes on where it was stopped."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ldc.runtime.stops import EXIT_CODES
from ldc.runtime.sweeps.ledger import FAILED, FINISHED, INTERRUPTED, RUNNING, Ledger, held
from ldc.runtime.sweeps.trials import Trial

log = logging.getLogger(__name__)
# How a trial ends that can go on: it says so, or was killed.
_STOPPED = (*EXIT_CODES, *(-number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL)))
WANDB_RUN = "WANDB_RUN_ID"  # W&B's agent gives each trial one; here a trial's is its own run folder's
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_SECONDS_TO_SAVE = 600.0


def run_trials(trials: Sequence[Trial], folder: Path, *, retry: bool = False) -> Ledger:
    """Runs what of the trials is not finished; returns the ledger. One that fails is recorded, and the rest goes on.

    Args:
        trials: in their order.
        folder: of the sweep: its ledger and the trials' logs.
        retry: trials that failed are run again.

    Raises:
        ValueError: a trial's setting is wrong, which costs no training, or another agent is at work.
    """
    folders = {trial.id: trial.folder for trial in trials}  # composes each config before the first trial starts
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with held(folder) as lock, _signals_stop():
        ledger = Ledger(folder)
        done = {FINISHED} if retry else {FINISHED, FAILED}
        for trial in trials:
            shown = ", ".join(f"{name}={value}" for name, value in trial.values.items())
            if ledger.state(trial.id) in done:
                log.info("Trial %d of %d: %s: %s before.", trial.number, len(trials), shown, ledger.state(trial.id))
                continue
            output = folder / "logs" / f"{trial.run}.log"
            log.info("Trial %d of %d: %s (%s)", trial.number, len(trials), shown, output)
            _run(trial, folders[trial.id], ledger, output, lock)
    return ledger


def _run(trial: Trial, run_folder: Path, ledger: Ledger, output: Path, lock: int) -> None:
    attempts = ledger.records.get(trial.id, {}).get("attempts", 0) + 1
    ledger.update(trial.id, state=RUNNING, values=trial.values, run=str(run_folder), attempts=attempts, error=None)
    start = time.monotonic()
    words = [sys.executable, "-m", trial.program, *trial.arguments]
    environment = {name: value for name, value in os.environ.items() if name != WANDB_RUN}
    # To a file and not a pipe, and in its own session: it lives on where the agent is killed, and is told to stop once.
    with output.open("a") as file:
        process = subprocess.Popen(  # noqa: S603 - our own program
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
            pass_fds=[lock],
        )
        try:
            code = process.wait()
        except BaseException:
            ledger.update(trial.id, state=INTERRUPTED, returncode=_stop(process))
            raise
    facts = {"returncode": code, **_outcome(code, run_folder, output)}
    ledger.update(trial.id, **facts, seconds=round(time.monotonic() - start, 1))
    log.info("Trial %d: %s, %s.", trial.number, facts["state"], facts.get("metric", facts.get("error")))


def _outcome(code: int, run_folder: Path, output: Path) -> dict[str, Any]:
    if code in _STOPPED:
        return {"state": INTERRUPTED, "error": f"stopped with code {code}"}
    if code != 0:
        lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
        return {"state": FAILED, "error": lines[-1] if lines else f"ended with code {code}"}
    path = run_folder / "summary.json"
    metric: Any = json.loads(path.read_text()).get("metric") if path.is_file() else None
    if type(metric) not in {int, float}:
        return {"state": FAILED, "error": f"{path} has no metric"}
    if not math.isfinite(metric):
        return {"state": FAILED, "error": f"the metric is {metric}, not finite"}
    return {"state": FINISHED, "metric": metric}


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Tells the trial to save and end; returns its exit code."""
    process.terminate()
    try:
        return process.wait(_SECONDS_TO_SAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Makes the signals that end a process end the `with` block, so that the trial is told; then they are as before."""

    def stop(number: int, _: Any) -> None:
        raise SystemExit(130 if number == signal.SIGINT else 143)

    heeded = [number for number in _ENDS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores one
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
