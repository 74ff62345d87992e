"""Puts this SLURM job into the queue again, under its own number."""

import logging
import os
import subprocess

_SECONDS = 60
log = logging.getLogger(__name__)


def job_id() -> str | None:
    """Returns this SLURM job's number, ARRAY_TASK for a task of an array; None: no job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def requeue() -> bool:
    """Asks SLURM once to queue this job again; SLURM then ends it by SIGTERM, whatever its exit code.

    A failure is a line of the log, not an error: the state is saved, and the process ends as it would have.
    """
    job = job_id()
    if job is None:
        return False
    reason = _refusal(["scontrol", "requeue", job])
    if reason is None:
        log.warning("SLURM job %s is queued again.", job)
        return True
    log.error("SLURM job %s could not be queued again: %s Submit it anew to go on.", job, reason)
    return False


def _refusal(command: list[str]) -> str | None:
    try:
        subprocess.run(  # noqa: S603 - SLURM's own program, and the number that SLURM gave the job
            command, capture_output=True, text=True, check=True, timeout=_SECONDS
        )
    except subprocess.CalledProcessError as error:
        return f"{' '.join(command)} failed with {error.stderr.strip()!r}."
    except (OSError, subprocess.SubprocessError) as error:
        return f"{' '.join(command)} failed with {str(error)!r}."
    return None
