import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAITS = """#!/bin/bash
# A stub of python: says which signals reach it.
trap 'echo USR1' USR1
trap 'echo TERM; exit 143' TERM
echo "$$"
while :; do sleep 0.02; done
"""


def test_signals_reach_the_program_which_has_the_entrypoints_pid(box):
    box.stub("python", WAITS)
    started = subprocess.Popen(box.command("train"), env=box.environment(), stdout=subprocess.PIPE, text=True)  # noqa: S603
    with started:
        pid = int(started.stdout.readline())
        started.send_signal(signal.SIGUSR1)
        first = started.stdout.readline()
        started.send_signal(signal.SIGTERM)
        second = started.stdout.readline()
    assert (pid, first, second, started.returncode) == (started.pid, "USR1\n", "TERM\n", 143)


def test_process_one_of_a_container_is_tini(box, allowed):
    entered = box.enter("train", through=allowed("unshare", "--pid", "--fork", "--"))
    assert (entered.pid, entered.program) == (1, "tini")
    assert entered.arguments == ["--", "python", "-m", "ldc.train"]


TRAINS = """
import os, signal, sys, time
def leave(number, frame):
    say(os.environ["RANK"] + " " + signal.Signals(number).name)
    sys.exit(0)
def say(line):
    os.write(1, f"{line}{os.linesep}".encode())  # at once: two processes share the pipe
signal.signal(signal.SIGUSR1, leave)
say("ready")
time.sleep(60)
"""


@pytest.mark.integration
def test_usr1_reaches_both_processes_of_real_torchrun(box):
    (box.folder / "bin" / "python").unlink()
    (box.folder / "ldc").mkdir()
    (box.folder / "ldc" / "__init__.py").touch()
    (box.folder / "ldc" / "train.py").write_text(TRAINS)  # a stub of ldc.train, found first in the working folder
    path = f"{Path(sys.executable).parent}:{box.environment()['PATH']}"
    environment = box.environment(LDC_NPROC="2", OMP_NUM_THREADS="1", PATH=path)
    started = subprocess.Popen(  # noqa: S603
        box.command("train"), env=environment, stdout=subprocess.PIPE, text=True, cwd=box.folder
    )
    with started:
        ready = [started.stdout.readline() for _ in range(2)]
        time.sleep(2)  # a process may be ready before torchrun, which has just started it, minds signals
        started.send_signal(signal.SIGUSR1)
        said = sorted(started.stdout)
    assert (ready, said) == (["ready\n"] * 2, ["0 SIGUSR1\n", "1 SIGUSR1\n"])
