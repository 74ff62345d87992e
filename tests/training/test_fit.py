import logging
import os
import signal

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training import Interrupted, WeightAverage, fit, loggers
from ldc.training.csv_log import read

ALL = ("teacher", "target")


class SignalAt(Callback):
    """Sends this process a signal in the midst of one batch."""

    def __init__(self, step: int, number: int = signal.SIGTERM):
        self.step, self.number = step, number

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def run(toy_module, toy_data, folder, *, steps=6, callbacks=(), batch_size=4, **options):
    accumulate = options.get("accumulate_grad_batches", 1)
    module, data = toy_module(ALL), toy_data(steps * accumulate, batch_size)
    result = fit(
        module,
        data,
        folder=folder,
        max_steps=steps,
        log_every_n_steps=1,
        loggers=loggers(["csv"], folder, "toy"),
        callbacks=callbacks,
        average=WeightAverage(),
        accelerator="cpu",
        **options,
    )
    return module, module.objective.seen, result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_fit_that_resumes_equals_a_straight_one_bit_for_bit(toy_module, toy_data, tmp_path, number):
    straight, _, result = run(toy_module, toy_data, tmp_path / "straight")
    with pytest.raises(Interrupted) as stop:
        run(toy_module, toy_data, tmp_path / "resumed", callbacks=[SignalAt(2, number)])
    resumed, seen, again = run(toy_module, toy_data, tmp_path / "resumed")

    assert stop.value.code == 128 + number
    assert seen == list(range(12, 24))
    assert read(tmp_path / "resumed/metrics.csv") == read(tmp_path / "straight/metrics.csv")
    assert (again.samples_seen, again.steps, again.metrics) == (24, 6, result.metrics)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for name, value in result.average.average.items():
        assert torch.equal(value, again.average.average[name]), name


def test_a_fit_that_resumes_under_accumulation_equals_a_straight_one(toy_module, toy_data, tmp_path):
    straight, _, _ = run(toy_module, toy_data, tmp_path / "straight", accumulate_grad_batches=2)
    with pytest.raises(Interrupted):
        run(toy_module, toy_data, tmp_path / "b", callbacks=[SignalAt(2)], accumulate_grad_batches=2)
    resumed, seen, _ = run(toy_module, toy_data, tmp_path / "b", accumulate_grad_batches=2)

    assert seen == list(range(24, 48))
    assert torch.equal(straight.bare_student.enter.weight, resumed.bare_student.enter.weight)


def test_a_finished_fit_that_is_run_again_takes_no_step(toy_module, toy_data, tmp_path):
    first, _, _ = run(toy_module, toy_data, tmp_path)
    second, seen, result = run(toy_module, toy_data, tmp_path)

    assert (seen, result.steps, result.samples_seen) == ([], 6, 24)
    assert torch.equal(first.bare_student.enter.weight, second.bare_student.enter.weight)


def test_a_finished_fit_holds_no_gradients(toy_module, toy_data, tmp_path):
    module, _, _ = run(toy_module, toy_data, tmp_path, steps=1)

    assert [name for name, parameter in module.named_parameters() if parameter.grad is not None] == []


def test_two_half_batches_make_the_step_of_one_batch(toy_module, toy_data, tmp_path):
    whole, _, one = run(toy_module, toy_data, tmp_path / "whole", batch_size=4)
    halves, _, two = run(toy_module, toy_data, tmp_path / "halves", batch_size=2, accumulate_grad_batches=2)

    torch.testing.assert_close(whole.bare_student.state_dict(), halves.bare_student.state_dict(), rtol=1e-4, atol=1e-5)
    assert two.metrics["train/total"] == pytest.approx(one.metrics["train/total"], rel=1e-4)
    assert two.samples_seen == one.samples_seen


def test_the_losses_are_logged_by_name_and_drawn(toy_module, toy_data, tmp_path):
    run(toy_module, toy_data, tmp_path)

    rows = read(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {"train/total", "train/task", "train/teacher", "train/target", "train/lr"} <= rows[0].keys()
    assert (tmp_path / "samples/losses.png").stat().st_size > 0


def test_bf16_trains_with_clipping_and_a_fused_optimizer(toy_module, toy_data, tmp_path):
    before = toy_module(ALL).bare_student.enter.weight.detach().clone()
    module, _, result = run(toy_module, toy_data, tmp_path, steps=2, precision="bf16-mixed", gradient_clip_val=1.0)

    assert result.steps == 2
    assert module.optimizers().optimizer.defaults["fused"]
    assert module.bare_student.enter.weight.dtype == torch.float32
    assert not torch.equal(before, module.bare_student.enter.weight)


def test_an_unknown_precision_is_refused(toy_module, toy_data, tmp_path):
    with pytest.raises(ValueError, match="precision must be 32-true, bf16-mixed or 16-mixed, not '8-true'"):
        run(toy_module, toy_data, tmp_path, precision="8-true")


def test_too_short_data_are_refused(toy_module, toy_data, tmp_path):
    with pytest.raises(ValueError, match="num_batches of the data must be at least 6, not 5"):
        fit(toy_module(), toy_data(5), folder=tmp_path, max_steps=6, accelerator="cpu")


def test_progress_off_a_terminal_reports_rate_and_time_left(toy_module, toy_data, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="ldc.training"):
        run(toy_module, toy_data, tmp_path)

    assert any("step 6/6" in line and "samples/s" in line and "left" in line for line in caplog.messages)


def test_a_finished_fit_goes_on_when_it_is_given_more_steps(toy_module, toy_data, tmp_path):
    straight, _, _ = run(toy_module, toy_data, tmp_path / "straight", steps=6)
    run(toy_module, toy_data, tmp_path / "longer", steps=3)
    longer, seen, result = run(toy_module, toy_data, tmp_path / "longer", steps=6)

    assert (seen, result.steps) == (list(range(12, 24)), 6)
    assert torch.equal(straight.bare_student.enter.weight, longer.bare_student.enter.weight)
    assert read(tmp_path / "longer/metrics.csv") == read(tmp_path / "straight/metrics.csv")
