import pytest

from ldc.training.preemption import job_id, requeue


def test_a_job_is_queued_again_by_its_number(fake_slurm):
    calls = fake_slurm(scontrol="exit 0")
    assert requeue()
    assert calls() == ["scontrol requeue 7"]


def test_a_task_of_an_array_is_queued_again_alone(fake_slurm, monkeypatch):
    fake_slurm(scontrol="exit 0")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert job_id() == "5_3"


@pytest.mark.parametrize("does", ["echo denied >&2; exit 1", None])
def test_a_job_that_slurm_does_not_queue_again_is_named(fake_slurm, caplog, monkeypatch, does):
    fake_slurm(**({"scontrol": does} if does else {}))
    if does is None:
        monkeypatch.setenv("PATH", "/nonexistent")
    assert not requeue()
    (record,) = caplog.records
    assert record.message.startswith("SLURM job 7 could not be queued again: scontrol requeue 7 failed with ")
    assert ("denied" in record.message) is (does is not None)


def test_what_is_no_job_is_not_queued_again(fake_slurm, monkeypatch):
    calls = fake_slurm(scontrol="exit 0")
    monkeypatch.delenv("SLURM_JOB_ID")
    assert not requeue()
    assert calls() == []


def test_where_the_script_is_to_ask_a_file_tells_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("LDC_REQUEUE_FILE", str(tmp_path / "requeue-7"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert requeue()
    assert (tmp_path / "requeue-7").is_file()
