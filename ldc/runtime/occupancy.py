"""One process at a time makes a stage: the same command started twice would write two fits into one folder."""

import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ldc.runtime.ranks import is_restart

PATIENCE = 10.0  # seconds in which a process that was told to end may still hold its stage
_POLL = 0.25
_HELD = (errno.EACCES, errno.EAGAIN)

log = logging.getLogger(__name__)


@contextmanager
def occupied(run: Path, stage: str) -> Iterator[None]:
    """Holds a stage of a run for this process, until it is left or the process ends, in whatever way.

    The lock is POSIX's, which belongs to this process alone: a loader's process that outlives a killed fit does not
    hold it, and it counts on NFS, too. Where a file system has no locks, that is said and the stage is made. So it is
    in a job that SLURM or torchrun has started again: a lost node's lock can outlive it on NFS.

    Raises:
        ValueError: another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    with _file(run, stage).open("a+") as lock:
        _take(lock, stage, run)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


def refuse_occupied(run: Path, stage: str | None) -> None:
    """Refuses to touch a run that another process works on; `stage` None: any stage of it.

    Not to be called inside `occupied`: to close a file lets go of a process's own POSIX locks on it.

    Raises:
        ValueError: one does.
    """
    for path in sorted(run.glob(".*.lock")) if stage is None else [_file(run, stage)]:
        if path.is_file():
            with path.open("a+") as lock:
                _take(lock, path.name[1 : -len(".lock")], run)


def _file(run: Path, stage: str) -> Path:
    return run / f".{stage}.lock"


def _take(lock: IO[str], stage: str, run: Path) -> None:
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                log.warning(
                    "Two processes could write into %s at once: its disk has no locks (%s).", run, error.strerror
                )
                return None
        if time.monotonic() > limit:
            lock.seek(0)
            holder = lock.read() or "another one"
            if is_restart():
                log.warning(
                    "%s still holds stage %r: taken for this job's start before, on a node that was lost.",
                    holder,
                    stage,
                )
                return None
            raise ValueError(
                f"run must be one that no other process makes, but {holder} is at stage {stage!r} of {run}: "
                "wait for it, or choose another run=NAME."
            )
        time.sleep(_POLL)
