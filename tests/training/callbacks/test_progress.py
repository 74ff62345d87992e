"""The lines that tell of a fit's progress where stderr is no terminal."""

from types import SimpleNamespace

import pytest

from ldc.training.callbacks.progress import Progress

STEPS = 3


@pytest.fixture
def lines(caplog):
    """Goes through a fit whose progress is told every `interval` seconds; returns the steps that lines name."""
    caplog.set_level("INFO")

    def run(interval):
        progress = Progress(interval)
        trainer = SimpleNamespace(global_step=0, max_steps=STEPS)
        module = SimpleNamespace(samples_seen=0, metrics={"train/total": 1.0})
        progress.on_train_start(trainer, module)
        for step in range(1, STEPS + 1):
            trainer.global_step, module.samples_seen = step, 2 * step
            progress.on_train_batch_end(trainer, module, None, None, step)
        progress.on_train_end(trainer, module)
        return [text.partition(",")[0] for text in caplog.messages if text.startswith("step ")]

    return run


def test_the_last_step_is_told_of_once_where_its_own_line_was_due(lines):
    assert lines(-1.0) == ["step 1/3", "step 2/3", "step 3/3"]


def test_the_last_step_is_told_of_where_no_line_was_due(lines):
    assert lines(30.0) == ["step 3/3"]
