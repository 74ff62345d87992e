import os
import subprocess
import sys
import time

import pytest

from ldc.runtime import occupancy
from ldc.runtime.occupancy import occupied, refuse_occupied

HOLDER = """
import sys, time
from pathlib import Path
from ldc.runtime.occupancy import occupied
with occupied(Path(sys.argv[1]), "distil"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which holds stage distil of the run at tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(occupancy, "PATIENCE", 0.0)


def test_a_stage_that_another_process_makes_is_refused_by_its_name(holder, impatient, tmp_path):
    said = rf"run must be one that no other process makes, but process {holder.pid} on .* is at stage 'distil'"
    with pytest.raises(ValueError, match=said), occupied(tmp_path, "distil"):
        pytest.fail("held by two")
    with pytest.raises(ValueError, match=said):
        refuse_occupied(tmp_path, None)
    with pytest.raises(ValueError, match=said):
        refuse_occupied(tmp_path, "distil")


def test_other_stages_of_the_run_are_free(holder, impatient, tmp_path):
    refuse_occupied(tmp_path, "few_step")
    with occupied(tmp_path, "evaluate"):
        assert (tmp_path / ".evaluate.lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_stage_is_free_when_its_process_has_been_killed(holder, tmp_path):
    holder.kill()
    with occupied(tmp_path, "distil"):
        assert (tmp_path / ".distil.lock").read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.usefixtures("holder", "impatient")
def test_a_job_that_is_started_again_takes_a_lock_for_its_own_of_before(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with occupied(tmp_path, "distil"):
        assert "still holds stage 'distil'" in caplog.text


def test_a_process_that_is_about_to_end_is_waited_for(holder, monkeypatch, tmp_path):
    polls = []

    def sleep(seconds):
        polls.append(seconds)
        holder.kill()
        holder.wait()

    monkeypatch.setattr(time, "sleep", sleep)
    with occupied(tmp_path, "distil"):
        assert len(polls) == 1


def test_a_disk_without_locks_is_said_and_used(monkeypatch, caplog, tmp_path):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(occupancy.fcntl, "lockf", no_locks)
    with occupied(tmp_path, "distil"):
        assert "has no locks (Operation not supported)" in caplog.text
