"""When a process must have stopped: its own limit, or the end of its SLURM job, whichever comes first."""

import logging
import os
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path

_FORM = re.compile(r"(?:(\d+)-)?(\d{1,2}):([0-5]\d):([0-5]\d)")
_SLURM_TIME = "%Y-%m-%dT%H:%M:%S"  # in the cluster's local time
_QUESTION_SECONDS = 30
_LOADED = time.monotonic()
log = logging.getLogger(__name__)


class TimeLimit:
    """The moment from which no further step may begin.

    Args:
        end: of the process's time, as `time.monotonic()` counts; None: there is none.
        margin_seconds: what saving and leaving may take before that.
    """

    def __init__(self, end: float | None, margin_seconds: float) -> None:
        self._last = None if end is None else end - margin_seconds

    @classmethod
    def of_process(cls, time_limit: str | int | None, margin_seconds: float) -> "TimeLimit":
        """Returns this process's: `time_limit` after its start, or the end of its SLURM job."""
        ends = [slurm_end()]
        if time_limit is not None:
            ends.append(time.monotonic() - process_age() + seconds(time_limit))
        return cls(min((end for end in ends if end is not None), default=None), margin_seconds)

    def reached(self, step_seconds: float = 0.0) -> bool:
        """Returns whether a step that takes so long would end too late."""
        return self._last is not None and time.monotonic() + step_seconds >= self._last


def seconds(time_limit: str | int) -> int:
    """Returns the seconds of "HH:MM:SS" or "D-HH:MM:SS"; a whole number, as which YAML reads 12:30:00, is seconds.

    Raises:
        ValueError: it has another form, or is zero.
    """
    form = _FORM.fullmatch(str(time_limit))
    if form is not None:
        days, hours, minutes, rest = (int(part or 0) for part in form.groups())
        time_limit = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if type(time_limit) is not int or time_limit < 1:
        raise ValueError(f"time_limit must be null, HH:MM:SS or D-HH:MM:SS, and more than zero, not {time_limit!r}.")
    return time_limit


def process_age() -> float:
    """Returns the seconds since this process was started; outside Linux, since this module was loaded."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # field 22: start after boot
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _LOADED


def slurm_end() -> float | None:
    """Returns when this SLURM job will be ended, as `time.monotonic()` counts; None: never, unknown, or no job."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    end = os.environ.get("SLURM_JOB_END_TIME") or _ask_for_end(job)
    return None if end is None else time.monotonic() + float(end) - time.time()


def _ask_for_end(job: str) -> float | None:
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    environment = {**os.environ, "SLURM_TIME_FORMAT": "standard"}
    try:
        answer = subprocess.run(  # noqa: S603 - SLURM's own program, and the number that SLURM gave the job
            command, capture_output=True, text=True, check=True, timeout=_QUESTION_SECONDS, env=environment
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("The end of SLURM job %s is not known (%s): trainer.time_limit can say it.", job, error)
        return None
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", answer):
        return None  # N/A: without limit
    return datetime.strptime(answer, _SLURM_TIME).astimezone().timestamp()
