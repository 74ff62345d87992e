import pytest

from ldc.training import StepTimes, fit


def run(toy_module, toy_data, folder, times, **settings):
    steps = 10
    batches = steps * settings.get("accumulate_grad_batches", 1)
    return fit(
        toy_module(), toy_data(batches), folder=folder, max_steps=steps, callbacks=[times], progress=False, **settings
    )


def test_the_fit_ends_after_the_timed_steps_and_leaves_no_checkpoint(toy_module, toy_data, tmp_path):
    times = StepTimes(3)
    result = run(toy_module, toy_data, tmp_path, times)
    laps = times.stopwatch.laps()
    assert (result.steps, len(laps)) == (3, 3)
    assert min(laps) > 0
    assert result.checkpoint is None
    assert not (tmp_path / "checkpoints").exists()


def test_something_else_takes_its_turn_after_each_step_outside_its_time(toy_module, toy_data, tmp_path):
    running = []
    times = StepTimes(3, between=lambda: running.append((len(times.stopwatch), times.stopwatch.is_running)))
    run(toy_module, toy_data, tmp_path, times)
    assert running == [(1, False), (2, False), (3, False)]


def test_a_step_is_all_of_its_micro_batches(toy_module, toy_data, tmp_path):
    times = StepTimes(2)
    assert run(toy_module, toy_data, tmp_path, times, accumulate_grad_batches=3).samples_seen == 2 * 3 * 4
    assert len(times.stopwatch) == 2


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        StepTimes(0)
