import json

import pytest

from ldc.runtime.sweeps import Ledger, read_sweep, results, trials, write_results
from ldc.runtime.sweeps.parameters import read_parameter
from ldc.runtime.sweeps.plot import is_wide, number

METRICS = (0.9, 0.4, None, 0.7)


@pytest.fixture
def measured(write, settings, tmp_path):
    """A grid of four, of which the third failed."""

    def measure(**changes):
        sweep = read_sweep(write(**changes))
        found, ledger = trials(sweep, settings()), Ledger(tmp_path)
        for trial, metric in zip(found, METRICS, strict=True):
            facts = {"state": "failed", "error": "No."} if metric is None else {"state": "finished", "metric": metric}
            ledger.update(trial.id, **facts, seconds=1.5, run="RUN")
        return sweep, found, results(sweep, found, ledger)

    return measure


def test_the_best_trial_is_the_lowest_and_comes_with_its_command(measured):
    _, found, summary = measured()
    assert summary["best"]["trial"] == 2
    assert summary["best"]["metric"] == 0.4
    assert summary["best"]["command"] == found[1].command
    assert summary["failed"] == [3]


def test_the_best_trial_is_the_highest_where_the_goal_is_to_maximize(measured):
    metric = {"name": "evaluate/student/kid", "goal": "maximize"}
    assert measured(metric=metric)[2]["best"]["trial"] == 1


def test_a_table_and_a_picture_are_written(measured, tmp_path):
    sweep, _, summary = measured()
    paths = write_results(sweep, summary, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == summary
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert table[0] == "| trial | stages.distil.optimizer.lr | seed | evaluate.student/kid | state | seconds |"
    assert table[3] == "| 2 | 0.0001 | 1 | 0.4 | finished, best | 1.5 |"
    assert table[4] == "| 3 | 0.001 | 0 |  | failed | 1.5 |"
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 10_000
    assert paths["picture"] == str(tmp_path / "out" / "sweep.png")


def test_values_out_of_a_range_too_long_to_list_are_drawn(write, settings, tmp_path):
    sweep = read_sweep(write(method="random", parameters={"seed": {"min": 0, "max": 2**62}}))
    found, ledger = trials(sweep, settings(count=3)), Ledger(tmp_path)
    for trial in found:
        ledger.update(trial.id, state="finished", metric=float(trial.number), seconds=1.0)
    assert write_results(sweep, results(sweep, found, ledger), tmp_path / "out")["picture"] is not None


def test_values_that_are_no_numbers_are_drawn_side_by_side(measured, tmp_path):
    parameters = {
        "pruner": {"values": ["bksdm_base", "bksdm_tiny"]},
        "stages.distil.optimizer.betas": {"values": [[0.9, 0.99], [0.9, 0.999]]},
    }
    sweep, _, summary = measured(parameters=parameters)
    assert write_results(sweep, summary, tmp_path / "out")["picture"] is not None


def test_without_a_finished_trial_there_is_no_best_and_no_picture(write, settings, tmp_path):
    sweep = read_sweep(write())
    summary = results(sweep, trials(sweep, settings()), Ledger(tmp_path))
    assert summary["best"] is None
    assert write_results(sweep, summary, tmp_path / "out")["picture"] is None


def test_the_axis_is_logarithmic_for_log_distributions_and_for_wide_lists():
    assert read_parameter("x", {"distribution": "log_uniform_values", "min": 1, "max": 2}).is_log
    assert not read_parameter("x", {"min": 1.0, "max": 2.0}).is_log
    assert is_wide([1e-4, 1e-2])
    assert not is_wide([0, 1e-2])
    assert not is_wide([1, 2])


def test_yamls_texts_that_stand_for_numbers_are_numbers():
    assert [number(value) for value in ("1e-4", 3, True, "base", [1])] == [1e-4, 3.0, None, None, None]
