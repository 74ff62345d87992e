"""Real signals to this process, in the midst of a real fit."""

import os
import signal
import time

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training import Interrupted, Stopping, fit
from ldc.training.preemption.time_limit import process_age

CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGINT: 130}


class SignalAt(Callback):
    """Sends signals at one hook of one micro-batch, or at a hook that has none."""

    def __init__(self, hook, *numbers, micro_batch=None):
        self.numbers, self.micro_batch = numbers, micro_batch
        setattr(self, hook, self._send)

    def _send(self, *hook, **_):
        if self.micro_batch in {None, hook[-1]}:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.fixture
def run(toy_module, toy_data, tmp_path):
    """`run(callback)`: four steps of two micro-batches; gives module and result."""

    def once(*callbacks, steps=4, **options):
        module = toy_module()
        data = toy_data(2 * steps)
        shape = {"max_steps": steps, "accumulate_grad_batches": 2, "accelerator": "cpu", "progress": False}
        return module, fit(module, data, folder=tmp_path / "fit", callbacks=callbacks, **shape, **options)

    return once


@pytest.fixture
def job(fake_slurm, monkeypatch):
    """This process as a job that has a day left; gives what the fake scontrol was told so far."""
    calls = fake_slurm(scontrol="exit 0")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 86400))
    return calls


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("micro_batch", range(4))
def test_a_signal_at_any_micro_batch_ends_the_fit_at_the_end_of_its_step(run, number, micro_batch):
    with pytest.raises(Interrupted) as stop:
        run(SignalAt("on_train_batch_start", number, micro_batch=micro_batch))
    module, result = run()

    assert stop.value.code == CODES[number]
    assert module.objective.seen[0] == (micro_batch // 2 + 1) * 8
    assert (result.steps, result.samples_seen) == (4, 32)


def test_a_fit_that_was_stopped_twice_ends_in_the_weights_of_a_straight_one(run, toy_module, toy_data, tmp_path):
    for micro_batch in (0, 4):
        with pytest.raises(Interrupted):
            run(SignalAt("on_train_batch_start", signal.SIGUSR1, micro_batch=micro_batch))
    stopped, _ = run()
    straight = toy_module()
    options = {"accumulate_grad_batches": 2, "accelerator": "cpu", "progress": False}
    fit(straight, toy_data(8), folder=tmp_path / "straight", max_steps=4, **options)

    for name, value in straight.state_dict().items():
        assert torch.equal(value, stopped.state_dict()[name]), name


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
def test_a_signal_before_the_first_step_ends_the_fit_without_one(run, hook):
    with pytest.raises(Interrupted) as stop:
        run(SignalAt(hook, signal.SIGTERM))
    module, result = run()

    assert stop.value.code == 143
    assert (module.objective.seen[0], result.steps) == (0, 4)


def test_a_signal_in_the_last_step_leaves_a_finished_fit(run):
    with pytest.raises(Interrupted):
        run(SignalAt("on_train_batch_start", signal.SIGTERM, micro_batch=7))
    module, result = run()

    assert (module.objective.seen, result.steps) == ([], 4)


def test_a_signal_after_the_last_step_still_ends_the_process(run):
    with pytest.raises(Interrupted) as stop:
        run(SignalAt("on_train_end", signal.SIGUSR1))
    assert stop.value.code == 138


def test_lightning_handles_no_signal_even_under_slurm(run, job, monkeypatch):
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        monkeypatch.setenv(name, "1" if name == "SLURM_NTASKS" else "0")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    handlers = []

    class Look(Callback):
        def on_train_batch_start(self, *_):
            handlers.extend(signal.getsignal(number).__module__ for number in (signal.SIGTERM, signal.SIGUSR1))

    run(Look())
    assert set(handlers) == {"ldc.training.preemption.signals"}


@pytest.mark.parametrize(
    ("numbers", "options", "calls"),
    [
        ([signal.SIGUSR1], {}, ["scontrol requeue 7"]),
        ([signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM], {}, ["scontrol requeue 7"]),
        ([signal.SIGUSR1], {"requeue": False}, []),
        ([signal.SIGTERM], {}, []),
        ([signal.SIGTERM], {"requeue_on_sigterm": True}, ["scontrol requeue 7"]),
        ([signal.SIGINT, signal.SIGUSR1], {"requeue_on_sigterm": True}, []),
    ],
)
def test_a_job_is_queued_again_once_for_what_means_go_on_later(run, job, numbers, options, calls):
    with pytest.raises(Interrupted):
        run(SignalAt("on_train_batch_start", *numbers, micro_batch=2), stopping=Stopping(**options))
    assert job() == calls


def test_the_job_is_queued_again_after_the_state_is_saved(run, fake_slurm, tmp_path):
    fake_slurm(scontrol=f"find {tmp_path}/fit > {tmp_path}/found", squeue="echo N/A")
    with pytest.raises(Interrupted):
        run(SignalAt("on_train_batch_start", signal.SIGUSR1, micro_batch=2))
    assert "checkpoints/step-00000002/manifest.json" in (tmp_path / "found").read_text()


def test_a_job_that_cannot_be_queued_again_ends_as_unfinished(run, fake_slurm, caplog):
    fake_slurm(scontrol="echo Invalid job id >&2; exit 1", squeue="echo N/A")
    with pytest.raises(Interrupted) as stop:
        run(SignalAt("on_train_batch_start", signal.SIGUSR1, micro_batch=2))
    assert stop.value.code == 138
    assert "could not be queued again: scontrol requeue 7 failed with 'Invalid job id'. Submit it anew" in caplog.text


def test_a_fit_ends_before_its_time_limit_and_goes_on(run, job):
    soon = Stopping(time_limit=int(process_age()) + 22, stop_before_limit_seconds=20)
    start = time.monotonic()
    with pytest.raises(Interrupted) as stop:
        run(steps=10**6, stopping=soon)

    assert time.monotonic() - start < 10
    assert (stop.value.code, job()) == (138, ["scontrol requeue 7"])


def test_a_limit_that_allows_no_step_is_named_and_not_tried_again(run, job, caplog):
    with pytest.raises(Interrupted):
        run(stopping=Stopping(time_limit="00:00:01"))
    assert job() == []
    assert "allows not one step" in caplog.text
