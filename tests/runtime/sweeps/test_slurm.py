"""A sweep whose trial is a SLURM job that is stopped and queued again while the agent waits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ldc.runtime.sweeps import Ledger, read_sweep, run_trials, trials

pytestmark = [pytest.mark.integration, pytest.mark.slurm]
START = ["${env}", "${interpreter}", "-m", "${program}"]
CLUSTER = ["cluster=slurm_cpu", "cluster.cpus_per_task=1", "cluster.time=10", f"cluster.python={sys.executable}"]


@pytest.fixture
def gate(tmp_path):
    """What the shard's command waits for: a job that has not got its data cannot end before it is told to stop."""
    return tmp_path / "gate"


@pytest.fixture
def shard(gate, laion, tmp_path):
    script = tmp_path / "shard.sh"
    script.write_text(f"until [ -e {gate} ]; do sleep 0.1; done\nexec cat {laion / '00000.tar'}\n")
    return f"pipe:sh {script}"


@pytest.fixture
def trial(write, settings, teacher_folder, shard, tmp_path):
    """The first trial of a sweep over the cluster, with a tiny teacher and two steps."""
    words = ["+experiment=bksdm", f"teacher={teacher_folder}", "data=shards", f"data.path={shard}", "data.size=32"]
    words += [f"stages.distil.{setting}" for setting in ("max_steps=2", "batch_size=2", "grids.steps=[1]")]
    words += ["stages.distil.schedule.warmup_steps=0", "pruner=bksdm_base", "metric=evaluate.student/kid"]
    words += ["~stages.evaluate.settings", "+stages.evaluate.settings={student: {model: distil, steps: 1}}"]
    words += ["stages.evaluate.picture=[student]", "stages.evaluate.num_images=8", "trainer=cpu"]
    path = write(
        program="ldc.launch",
        command=[*START, *CLUSTER, 'cluster.options=["--wait"]', "submit=true", *words, "${args_no_hyphens}"],
    )
    paths = {"outputs": str(tmp_path / "outputs"), "cache": str(tmp_path / "cache")}
    return trials(read_sweep(path), settings(count=1, paths=paths))[0]


def jobs(trial):
    lines = asked("scontrol", "show", "job", "-o").splitlines()
    facts = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]
    return [job for job in facts if job.get("JobName") == f"bksdm-{trial.run}"]


def asked(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def test_a_trial_that_is_queued_again_is_one_job_and_one_run(trial, gate, tmp_path):
    folder = tmp_path / "sweep"
    agent = os.fork()
    if agent == 0:
        code = 1
        try:
            run_trials([trial], folder)
            code = 0
        finally:
            os._exit(code)
    try:
        output = trial.folder / "slurm"
        until(lambda: any("fetching pipe" in path.read_text() for path in output.glob("*.out")))
        [job] = jobs(trial)
        asked("scancel", "--signal=USR1", job["JobId"])
        until(lambda: jobs(trial)[0]["Restarts"] == "1")
        gate.touch()
        _, status = os.waitpid(agent, 0)
    except BaseException:
        os.kill(agent, signal.SIGTERM)
        raise
    assert os.waitstatus_to_exitcode(status) == 0
    [job] = jobs(trial)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    record = Ledger(folder).records[trial.id]
    assert (record["state"], record["attempts"]) == ("finished", 1)
    assert record["metric"] == json.loads((Path(record["run"]) / "summary.json").read_text())["metric"]


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
