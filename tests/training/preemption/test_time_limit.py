import time
from datetime import datetime, timedelta

import pytest

from ldc.training.preemption import TimeLimit, seconds
from ldc.training.preemption.time_limit import process_age, slurm_end


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00:00:01", 1), ("01:30:00", 5400), ("2-00:00:10", 172810), (45000, 45000), ("48:00:00", 172800)],
)
def test_a_time_limit_is_read_as_slurm_writes_it(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["01:30", "1:60:00", "00:00:00", "", -1, True, "1d"])
def test_another_form_of_time_limit_is_refused(text):
    with pytest.raises(ValueError, match="time_limit must be null, HH:MM:SS or D-HH:MM:SS, and more than zero, not"):
        seconds(text)


def test_the_limit_counts_from_the_start_of_the_process():
    age = process_age()
    assert TimeLimit.of_process(int(age) + 60, margin_seconds=62).reached()
    assert not TimeLimit.of_process(int(age) + 60, margin_seconds=30).reached()


def test_a_step_that_would_end_too_late_is_not_begun():
    limit = TimeLimit(time.monotonic() + 100, margin_seconds=40)
    assert not limit.reached(step_seconds=30)
    assert limit.reached(step_seconds=70)


def test_without_limit_and_job_no_end_is_near():
    assert not TimeLimit.of_process(None, margin_seconds=1e9).reached(1e9)


def test_the_end_of_a_job_is_what_slurm_says(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 500))
    assert slurm_end() - time.monotonic() == pytest.approx(500, abs=2)
    assert TimeLimit.of_process("01:00:00", margin_seconds=501).reached()


def test_slurm_is_asked_for_the_end_that_it_does_not_give(fake_slurm):
    end = datetime.now().astimezone() + timedelta(seconds=90)
    calls = fake_slurm(squeue=f"echo {end:%Y-%m-%dT%H:%M:%S}")
    assert slurm_end() - time.monotonic() == pytest.approx(90, abs=2)
    assert calls() == ["squeue --noheader --jobs=7 --format=%e"]


def test_a_job_without_end_has_no_limit(fake_slurm):
    fake_slurm(squeue="echo N/A")
    assert slurm_end() is None


def test_slurm_that_does_not_answer_is_named(fake_slurm, caplog):
    fake_slurm(squeue="exit 1")
    assert slurm_end() is None
    assert "The end of SLURM job 7 is not known" in caplog.text
