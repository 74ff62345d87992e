"""Two real processes, forked from this one, that train together over gloo; one of them gets a signal."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from datetime import timedelta

import pytest
import torch
from lightning.pytorch import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from ldc.training import Stopping, fit
from ldc.training.preemption import Agreement, Cause, TimeLimit

pytestmark = pytest.mark.integration
FORK = multiprocessing.get_context("fork")
PATIENCE = 120  # seconds until ranks count as hanging


def join(number, port, work, *arguments):
    """What a launcher's environment makes of a process; its exit code is that of the work."""
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ.update({**environment, "LOCAL_RANK": str(number), "RANK": str(number)})
    work(number, *arguments)


def exit_codes(work, *arguments):
    """Runs `work(rank, *arguments)` in two processes and returns how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [FORK.Process(target=join, args=(number, port, work, *arguments)) for number in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(PATIENCE)
    codes = [rank.exitcode for rank in ranks]
    for rank in ranks:
        rank.kill()
    return codes


class SignalTo(Callback):
    """Sends one rank a signal in the midst of a step's last micro-batch, by the number of steps before it."""

    def __init__(self, rank, number, step):
        self.rank, self.number, self.step = rank, number, step

    def on_train_batch_start(self, trainer, *hook):
        if (trainer.global_rank, hook[-1]) == (self.rank, 2 * self.step + 1):
            os.kill(os.getpid(), self.number)


class Slow(Callback):
    """Takes a second and more for each step."""

    def on_train_batch_start(self, *_):
        time.sleep(0.6)


@pytest.fixture
def train(toy_module, toy_data, tmp_path):
    """`train(*callbacks)`: exit codes of two ranks that take eight steps of two micro-batches."""

    def both(*callbacks, stopping=None):
        def work(rank):
            options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "accumulate_grad_batches": 2}
            options |= {"max_steps": 8, "progress": False, "stopping": stopping, "callbacks": callbacks}
            module = toy_module()
            del module.bare_student.scale  # no buffers, which DDP would send about
            module.bare_student.scale = 1.0
            result = fit(module, toy_data(16, 2), folder=tmp_path / "fit", **options)
            assert result.steps == 8

        return exit_codes(work)

    return both


@pytest.fixture
def saved(tmp_path):
    """The steps of which there are checkpoints."""
    return lambda: sorted(
        int(path.name.removeprefix("step-")) for path in (tmp_path / "fit/checkpoints").glob("step-*")
    )


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_rank_stops_both_at_the_same_step_with_one_checkpoint(train, saved, number):
    assert train(SignalTo(1, number, step=2)) == [128 + number] * 2
    assert saved() == [4]  # the step of the signal is the third, and the answer is read one later


def test_ranks_that_were_stopped_end_their_fit_when_they_are_started_again(train, saved):
    assert train(SignalTo(1, signal.SIGTERM, step=2)) == [143, 143]
    assert train() == [0, 0]
    assert saved()[-1] == 8


def test_several_signals_to_both_ranks_save_once_and_requeue_once(train, saved, fake_slurm):
    calls = fake_slurm(scontrol="sleep 1", squeue="echo N/A")
    told = [SignalTo(rank, signal.SIGUSR1, step) for rank, step in ((0, 1), (1, 1), (1, 2), (0, 2))]
    assert train(*told) == [138, 138]
    assert saved() == [3]
    assert [call for call in calls() if "requeue" in call] == ["scontrol requeue 7"]


def test_a_signal_in_the_last_step_stops_both_ranks_after_it(train, saved):
    assert train(SignalTo(1, signal.SIGTERM, step=7)) == [143, 143]
    assert saved()[-1] == 8


def test_the_time_limit_that_rank_zero_sees_stops_both(train, saved):
    assert train(Slow(), stopping=Stopping(time_limit="00:00:03", stop_before_limit_seconds=1)) == [138, 138]
    assert len(saved()) == 1


class ThreeSeconds(Stopping):
    """A limit that counts from the first step."""

    def limit(self):
        return TimeLimit(time.monotonic() + 3, margin_seconds=0)


def test_several_ranks_stop_before_a_time_limit_that_is_two_steps_ahead(train, saved):
    assert train(Slow(), stopping=ThreeSeconds()) == [138, 138]
    assert saved() == [2]  # the third would end later


def exchange_in_turn(rank, first_is_through, folder):
    torch.distributed.init_process_group("gloo")
    agreement = Agreement(2)
    if rank == 1:
        first_is_through.wait()
    agreed = [agreement.exchange(Cause.SIGTERM if rank == 1 else Cause.NONE)]
    first_is_through.set()
    agreed.append(agreement.exchange(Cause.NONE))
    (folder / str(rank)).write_text(json.dumps(agreed))


def test_no_rank_waits_for_another_to_send_its_answer_and_all_read_it_at_the_same_call(tmp_path):
    assert exit_codes(exchange_in_turn, FORK.Event(), tmp_path) == [0, 0]
    answers = [json.loads((tmp_path / rank).read_text()) for rank in "01"]
    assert answers == [[Cause.NONE, Cause.SIGTERM]] * 2


def wait_for_who_is_silent(rank):
    torch.distributed.init_process_group("gloo")
    agreement = Agreement(2, timedelta(seconds=0.5))
    if rank == 1:
        time.sleep(5)
        return
    with pytest.raises(RuntimeError, match=r"[Tt]imed out"):
        agreement.settle(Cause.NONE)


def test_an_answer_is_waited_for_no_longer_than_told():
    assert exit_codes(wait_for_who_is_silent) == [0, 0]


class Operations(TorchDispatchMode):
    """Counts what is dispatched by name: every read of a scalar by the host, and every collective."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        self.counts[name] = self.counts.get(name, 0) + 1
        return function(*args, **(kwargs or {}))


class Count(Callback):
    """Writes down rank zero's operations of four steps between two log steps."""

    def __init__(self, path):
        self.path, self.operations = path, Operations()

    def on_train_batch_start(self, *hook):
        if hook[-1] == 4:  # DDP has arranged its buckets
            self.operations.__enter__()

    def on_train_batch_end(self, trainer, *hook):
        if hook[-1] == 11:
            self.operations.__exit__(None, None, None)
            if trainer.is_global_zero:
                self.path.write_text(json.dumps(self.operations.counts))


@pytest.fixture
def operations(train, tmp_path):
    def counted():
        assert train(Count(tmp_path / "counts")) == [0, 0]
        return json.loads((tmp_path / "counts").read_text())

    return counted


def test_the_host_reads_nothing_and_asks_no_rank_between_log_steps(operations):
    counts = operations()
    assert counts.get("aten::_local_scalar_dense", 0) == 0
    # Gradients, whether they are finite, and the causes of stopping, which are sent after the count of the last step.
    assert {name: n for name, n in counts.items() if name.startswith("c10d::")} == {"c10d::allreduce_": 4 + 4 + 3}


def test_the_count_sees_the_question_that_lightning_asks_at_every_batch(operations, monkeypatch):
    monkeypatch.setattr(sys.modules["ldc.training.fit"], "take_over_signals", print)
    counts = operations()
    assert counts["aten::_local_scalar_dense"] == counts["c10d::broadcast_"] == 7
