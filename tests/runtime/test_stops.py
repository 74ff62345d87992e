import os
import signal
import subprocess
import sys
import time
import weakref

import pytest
from omegaconf import OmegaConf

from ldc.data.remote import fetch_all
from ldc.runtime.stops import Stopped, stoppable


def stopped_by(number, **trainer):
    with pytest.raises(Stopped) as stop, stoppable(OmegaConf.create({"trainer": trainer})):
        os.kill(os.getpid(), number)
    return stop.value.code


@pytest.mark.parametrize(
    ("number", "trainer", "calls"),
    [
        (signal.SIGUSR1, {"requeue": True}, ["scontrol requeue 7"]),
        (signal.SIGUSR1, {"requeue": False}, []),
        (signal.SIGUSR1, {}, []),
        (signal.SIGTERM, {"requeue": True}, []),
        (signal.SIGTERM, {"requeue": True, "requeue_on_sigterm": True}, ["scontrol requeue 7"]),
        (signal.SIGTERM, {"requeue": False, "requeue_on_sigterm": True}, []),
    ],
)
def test_a_job_is_queued_again_by_the_rules_of_a_fit(fake_slurm, number, trainer, calls):
    told = fake_slurm(scontrol="exit 0")
    assert stopped_by(number, **trainer) == 128 + number
    assert told() == calls


def test_a_second_signal_does_not_keep_a_job_from_being_queued_again(fake_slurm):
    told = fake_slurm(scontrol="kill -TERM $PPID; sleep 0.3")
    assert stopped_by(signal.SIGUSR1, requeue=True) == 138
    assert told() == ["scontrol requeue 7"]


def test_only_rank_zero_asks_for_its_job_again(fake_slurm, monkeypatch):
    told = fake_slurm(scontrol="exit 0")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert stopped_by(signal.SIGUSR1, requeue=True) == 138
    assert told() == []


def test_a_notice_that_ends_a_shard_s_command_first_stops_the_command_too(tmp_path):
    """SLURM signals a step's processes one after the other, and the shard was to blame where its command came first."""
    shard = f"pipe:(sleep 0.5; kill -USR1 {os.getpid()}) > /dev/null & kill -USR1 $$"
    with pytest.raises(Stopped), stoppable(OmegaConf.create({})):
        fetch_all([shard], tmp_path)


def test_the_handlers_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    with stoppable(OmegaConf.create({})):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_a_stop_that_falls_into_a_weak_reference_s_callback_comes_again():
    """Python drops what is raised there, and the command would go on as if nobody had told it to stop."""

    def work():
        stop_in_a_callback()
        time.sleep(5)

    with pytest.raises(Stopped) as stop, stoppable(OmegaConf.create({})):
        work()
    assert stop.value.code == 138


def test_a_stop_that_was_dropped_at_a_command_s_end_kills_nothing_later():
    with stoppable(OmegaConf.create({})):
        stop_in_a_callback()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def stop_in_a_callback():
    class Thing:
        pass

    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGUSR1))
    del thing
    assert reference() is None


def test_a_notice_that_comes_when_the_work_is_done_leaves_the_exit_code():
    """Python takes a second to leave after a command's last line: SLURM would call a finished job failed."""
    lines = ["import atexit, os, signal", "atexit.register(os.kill, os.getpid(), signal.SIGUSR1)"]
    lines += ["from ldc.profile import main", "main()"]
    command = [sys.executable, "-c", "\n".join(lines), "--cfg", "job"]
    ended = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the lines above
    assert ended.returncode == 0, ended.stderr
