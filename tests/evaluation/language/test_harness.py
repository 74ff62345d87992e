import logging

import pytest

from ldc.evaluation.language import harness

needs_absence = pytest.mark.skipif(harness.is_installed(), reason="told only where lm-evaluation-harness is not there")


def test_the_seven_tasks_and_metrics_are_the_published_ones():
    by_length = {task for task, metric in harness.TASKS.items() if metric == "acc_norm"}
    assert len(harness.TASKS) == 7
    assert by_length == {"hellaswag", "arc_challenge", "openbookqa"}


@needs_absence
def test_a_machine_without_the_harness_is_told_how_to_get_it(reader, letters):
    with pytest.raises(ValueError, match="must have lm-evaluation-harness installed"):
        harness.zero_shot(reader, letters())


@needs_absence
def test_tasks_that_cannot_be_run_stand_as_not_run(reader, letters, caplog):
    with caplog.at_level(logging.WARNING):
        found = harness.zero_shot_or_not(reader, letters())
    assert set(found) == {*harness.TASKS, "average"}
    assert set(found.values()) == {"not run"}
    assert "The zero-shot tasks are not run" in caplog.text
