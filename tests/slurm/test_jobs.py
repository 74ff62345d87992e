"""Jobs that ldc.launch submits to a real SLURM controller on this machine.

All are submitted first, since most of a job's time is waiting: for imports, and for SLURM to start a requeued one.
"""

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from ldc import launch, train
from ldc.artifacts import find
from ldc.runtime import CONF
from ldc.runtime.arguments import legalise
from ldc.training.csv_log import read

pytestmark = [pytest.mark.slurm, pytest.mark.integration]
BKSDM = ("+experiment=bksdm", "distil")  # and its stages that train
LCM = ("+experiment=lcm_bksdm", "distil", "few_step")
TINY = ("~stages.evaluate", "pruner=bksdm_tiny", "trainer=cpu", "trainer.log_every_n_steps=1", "reuse=true")
FITS = ("batch_size=2", "schedule.warmup_steps=0", "grids.prompts=[]")
CLUSTER = ("cluster=slurm_cpu", "cluster.cpus_per_task=1", "cluster.time=30", f"cluster.python={sys.executable}")
STEPS = 24  # of a tenth of a second: enough for a notice to come before the last one on a busy machine
ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


class Runs:
    """Tiny runs of the embedded experiments; their latents are encoded once, in this process."""

    def __init__(self, outputs, cache):
        self.places = [f"paths.outputs={outputs}", f"paths.cache={cache}"]
        train.main.task(composed("train", [*self.words(LCM, 2), "run=chain", "stage=encode"]))

    def words(self, experiment, steps):
        name, *fits = experiment
        short = [f"stages.{fit}.{setting}" for fit in fits for setting in (*FITS, f"max_steps={steps}")]
        return [name, *TINY, *short, *self.places]

    def submit(self, experiment, steps, *more):
        """Runs `ldc.launch` in this process; returns its jobs."""
        words = [*self.words(experiment, steps), *CLUSTER, *more, "submit=true"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["ldc.launch", *words])
            return launch.main.task(composed("launch", words))["jobs"]


def student(job, stage="distil"):
    return find(Path(job["runs"][0]) / stage)


def weights(job):
    return (student(job).folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


def losses(job, run=0):
    return read(Path(job["runs"][run]) / "distil" / "metrics.csv")


def stopped_at(job):
    """Returns the step at which a job said that it stopped."""
    (line,) = [line for line in said(job).splitlines() if "SIGUSR1 at step" in line]
    return int(line.partition("at step ")[2].partition(":")[0])


def composed(command, words):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(command, overrides=legalise(words, CONF))


def told(job):
    """Returns what SLURM knows of a job, or of each task of an array."""
    command = ["scontrol", "show", "job", "-o", job["id"]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603
    return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]


def said(job):
    """Returns what a job has written so far."""
    return "".join(path.read_text() for path in Path(job["script"]).parent.glob(f"{job['name']}-*.out"))


def wait(job, done, seconds=480):
    """Returns the first answer of `done()` that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := done():
            return answer
        time.sleep(0.5)
    raise TimeoutError(f"{job['name']} must be done within {seconds} s: {told(job)}; {said(job)[-3000:]}")


def ended(job):
    """Returns what SLURM knows of each of a job's tasks, once they have ended."""
    wait(job, lambda: all(fact["JobState"] in ENDS for fact in told(job)))
    return told(job)


def states(*jobs):
    """Returns how jobs, or the tasks of arrays, have ended; what they said is shown where a test fails."""
    found = [fact["JobState"] for job in jobs for fact in ended(job)]
    if set(found) != {"COMPLETED"}:
        print(*(said(job)[-3000:] for job in jobs), sep="\n")  # noqa: T201
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def jobs(runs):
    """The jobs of most tests; the one that is stopped is so as soon as it has trained a little."""
    two = "cluster.tasks_per_node=2"
    made = {"stopped": runs.submit(BKSDM, STEPS, two, "run=stopped")}
    made["straight"] = runs.submit(BKSDM, STEPS, two, "run=straight")
    made["chain"] = runs.submit(LCM, 2, "run=chain", "chain=true")
    made["array"] = runs.submit(BKSDM, 2, "run=array", "array.seed=[0,1]", "cluster.array_limit=1")
    bad = ["check=false", "~stages.encode", "encoded=null", "data=shards", "data.path=/nowhere"]
    made["failing"] = runs.submit(BKSDM, 2, "run=failing", "chain=true", *bad)
    (stopped,) = made["stopped"]
    wait(stopped, lambda: len(losses(stopped)) >= 2)
    subprocess.run(["scancel", "--signal=USR1", stopped["id"]], check=True)  # noqa: S603, S607
    yield made
    left = [job["id"] for jobs in made.values() for job in jobs]
    subprocess.run(["scancel", *left], check=False)  # noqa: S603, S607


def test_a_job_of_two_tasks_trains_with_two_ranks(jobs):
    (job,) = jobs["straight"]
    assert states(job) == ["COMPLETED"]
    assert "MEMBER: 2/2" in said(job)
    assert [int(row["step"]) for row in losses(job)] == list(range(1, STEPS + 1))
    assert student(job).samples_seen == 2 * STEPS


def test_a_job_that_gets_usr1_is_requeued_and_ends_as_if_nothing_had_happened(jobs):
    (stopped,), (straight,) = jobs["stopped"], jobs["straight"]
    assert states(stopped, straight) == ["COMPLETED", "COMPLETED"]
    assert told(stopped)[0]["Restarts"] == "1"
    assert 0 < stopped_at(stopped) < STEPS
    assert losses(stopped) == losses(straight)
    assert weights(stopped) == weights(straight)


def test_an_array_trains_a_run_for_each_value(jobs):
    (job,) = jobs["array"]
    assert states(job) == ["COMPLETED", "COMPLETED"]
    first, second = (losses(job, run) for run in (0, 1))
    assert (len(first), len(second)) == (2, 2)
    assert first != second


def test_a_chain_runs_stage_by_stage(jobs):
    chain = jobs["chain"]
    assert [job["name"].rpartition("-")[2] for job in chain] == ["prune", "distil", "few_step"]  # encode is finished
    assert states(*chain) == ["COMPLETED"] * 3
    times = [(fact["StartTime"], fact["EndTime"]) for job in chain for fact in told(job)]
    assert all(end <= start for (_, end), (start, _) in pairwise(times))
    assert {fact["JobName"] for job in chain for fact in told(job)} == {"lcm_bksdm-chain"}  # and so no other job's run
    assert student(chain[-1], "distil").id in student(chain[-1], "few_step").parents


def test_what_waits_for_a_stage_that_fails_never_starts(jobs):
    prune, distil = jobs["failing"]
    assert [fact["JobState"] for fact in ended(prune)] == ["FAILED"]
    assert [fact["JobState"] for fact in ended(distil)] == ["CANCELLED"]
