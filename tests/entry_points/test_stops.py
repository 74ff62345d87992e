"""Real signals to commands that do not train, in processes of their own."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration
COMMAND = """
import sys, time
from ldc.runtime.entry import entry_point

@entry_point("train")
def task(cfg):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)

task()
"""


def stopped(number):
    """Exit code and lines of stderr of a command that is sent a signal in the midst of its work."""
    process = subprocess.Popen(  # noqa: S603 - the words above
        [sys.executable, "-c", COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line == "ready\n":
            break
    process.send_signal(number)
    out, err = process.communicate()
    assert out == ""
    return process.returncode, err.splitlines()


def test_a_command_that_does_not_train_ends_in_order_and_can_go_on():
    code, lines = stopped(signal.SIGTERM)
    assert code == 143
    assert lines == ["closed", "SIGTERM while nothing trained.", "Interrupted: the same command goes on from here."]


def test_its_job_is_queued_again_after_a_warning(fake_slurm):
    calls = fake_slurm(scontrol="exit 0")
    code, lines = stopped(signal.SIGUSR1)
    assert (code, calls()) == (138, ["scontrol requeue 7"])
    assert "SLURM job 7 is queued again." in lines
