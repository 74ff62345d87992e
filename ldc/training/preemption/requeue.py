"""Puts this SLURM job into the queue again, under its own number."""

import logging
import os
import subprocess
from pathlib import Path

_SECONDS = 60
_ASKING = "LDC_REQUEUE_FILE"  # set by the scripts of ldc.launch for containers, in which there is no scontrol
log = logging.getLogger(__name__)


def job_id() -> str | None:
    """Returns this SLURM job's number, ARRAY_TASK for a task of an array; None: no job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def requeue() -> bool:
    """Asks SLURM once to queue this job again; SLURM then ends it by SIGTERM, whatever its exit code.

    Where $LDC_REQUEUE_FILE names a file, that is made instead, and the job's script asks once the process has ended.
    A failure is a line of the log, not an error: the state is saved, and the process ends as it would have.
    """
    job = job_id()
    if job is None:
        return False
    if file := os.environ.get(_ASKING):
        Path(file).touch()
        log.warning("SLURM job %s asks its script to be queued again.", job)
        return True
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
