"""The agent over cheap trials: a program of a few lines instead of `ldc.train`, each in a process of its own."""

import os
import signal
import time
from functools import cached_property
from pathlib import Path

import pytest

from ldc.runtime.sweeps import Ledger, Trial, run_trials
from ldc.runtime.sweeps.ledger import held

PROGRAM = """
import json, os, pathlib, signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as ldc.train, which saves first
words = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(words["paths.outputs"]) / words["run"]
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts").open("a") as file:
    file.write("x")
assert "WANDB_RUN_ID" not in os.environ
match words["do"]:
    case "wait":  # until it is told to go on, or to stop
        while not pathlib.Path(words["go"]).exists():
            time.sleep(0.02)
    case "fail":
        sys.exit("lr must be a number in (0, 1], not -1.")
    case "die":
        os.kill(os.getpid(), signal.SIGKILL)
metric = {"nan": float("nan"), "none": None}.get(words["do"], float(words["x"]))
(folder / "summary.json").write_text(json.dumps({"metric": metric}))
"""


class CheapTrial(Trial):
    @cached_property
    def folder(self):
        return Path(self.place[0].partition("=")[2]) / self.run


@pytest.fixture
def trial(tmp_path, monkeypatch):
    (tmp_path / "cheap_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(number, do="end"):
        words = (f"x={number}", f"do={do}", f"go={tmp_path / 'go'}")
        place = (f"paths.outputs={tmp_path}",)
        return CheapTrial(number, "toy", "cheap_program", {"x": number}, words, place)

    return make


def starts(trial):
    path = trial.folder / "starts"
    return len(path.read_text()) if path.is_file() else 0


def states(ledger, trials):
    return [ledger.state(trial.id) for trial in trials]


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def agent(trials, folder):
    """Runs the agent in a fork of this process; returns its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run_trials(trials, folder)
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            os._exit(code)
    return child


def test_finished_trials_are_not_run_again(tmp_path, trial, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "another")  # a trial's is its own
    trials = [trial(1), trial(2)]
    for _ in range(2):
        ledger = run_trials(trials, tmp_path / "sweep")
    assert [ledger.records[one.id]["metric"] for one in trials] == [1.0, 2.0]
    assert [starts(one) for one in trials] == [1, 1]


@pytest.mark.parametrize(
    ("do", "error"),
    [
        ("fail", "lr must be a number in (0, 1], not -1."),
        ("nan", "the metric is nan, not finite"),
        ("none", "summary.json has no metric"),
    ],
)
def test_a_trial_that_fails_is_recorded_and_the_rest_goes_on(tmp_path, trial, do, error):
    trials = [trial(1, do), trial(2)]
    ledger = run_trials(trials, tmp_path / "sweep")
    assert states(ledger, trials) == ["failed", "finished"]
    assert ledger.records[trials[0].id]["error"].endswith(error)


def test_a_failed_trial_is_run_again_only_when_that_is_asked_for(tmp_path, trial):
    one = trial(1, "fail")
    for retry in (False, False, True):
        run_trials([one], tmp_path / "sweep", retry=retry)
    assert starts(one) == 2


def test_a_killed_trial_is_run_again_the_next_time(tmp_path, trial):
    trials = [trial(1, "die"), trial(2)]
    ledger = run_trials(trials, tmp_path / "sweep")
    assert states(ledger, trials) == ["interrupted", "finished"]
    run_trials(trials, tmp_path / "sweep")
    assert [starts(one) for one in trials] == [2, 1]


def test_the_ledger_goes_on_after_the_agent_is_killed_and_no_trial_runs_twice_at_once(tmp_path, trial):
    trials, folder = [trial(1), trial(2, "wait"), trial(3)], tmp_path / "sweep"
    killed = agent(trials, folder)
    until(lambda: starts(trials[1]) == 1)
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    assert states(Ledger(folder), trials) == ["finished", "running", None]

    with pytest.raises(ValueError, match=r"or a trial that a killed one left running, still holds it."):
        run_trials(trials, folder)
    (tmp_path / "go").touch()
    until(lambda: is_free(folder))
    ledger = run_trials(trials, folder)

    assert states(ledger, trials) == ["finished"] * 3
    assert [starts(one) for one in trials] == [1, 2, 1]
    assert ledger.records[trials[1].id]["attempts"] == 2


def is_free(folder):
    try:
        with held(folder):
            return True
    except ValueError:
        return False


def test_an_agent_that_is_told_to_stop_tells_its_trial_and_says_so(tmp_path, trial):
    trials, folder = [trial(1, "wait"), trial(2)], tmp_path / "sweep"
    stopped = agent(trials, folder)
    until(lambda: starts(trials[0]) == 1)
    os.kill(stopped, signal.SIGTERM)
    _, status = os.waitpid(stopped, 0)

    assert os.waitstatus_to_exitcode(status) == 143
    ledger = Ledger(folder)
    assert states(ledger, trials) == ["interrupted", None]
    assert ledger.records[trials[0].id]["returncode"] == 143
    assert is_free(folder)


def test_every_trial_is_composed_before_the_first_one_starts(tmp_path, trial):
    class Wrong(CheapTrial):
        @cached_property
        def folder(self):
            raise ValueError("lr must be a number.")

    one, wrong = trial(1), trial(2)
    wrong = Wrong(wrong.number, wrong.sweep, wrong.program, wrong.values, wrong.words, wrong.place)
    with pytest.raises(ValueError, match="lr must be a number"):
        run_trials([one, wrong], tmp_path / "sweep")
    assert starts(one) == 0


def test_a_ledger_of_another_schema_is_refused(tmp_path):
    (tmp_path / "ledger.json").write_text('{"schema": 2, "trials": {}}')
    with pytest.raises(ValueError, match="must have schema 1, not 2"):
        Ledger(tmp_path)
