"""Rank zero's sign of life, for the ranks that wait while it works alone: they must not outlive it by much."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldc.artifacts import Artifact, find
from ldc.runtime.ranks import is_rank_zero

FILE = ".rank-zero"
BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # without a new sign
POLL_SECONDS = 0.5
START_SECONDS = 600.0  # until the first one: nodes do not begin at the same time
SIGHT_SECONDS = 75.0  # another node's NFS client may miss a new file for a minute, and not that the sign is gone


@contextmanager
def sign_of_life(folder: Path) -> Iterator[None]:
    """Keeps a file in a run's folder changing while rank zero is inside `with`; at the end it is taken away."""
    if not is_rank_zero():
        yield
        return
    path, over = folder / FILE, threading.Event()
    thread = threading.Thread(target=_beat, args=(path, over), name="sign-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


def _beat(path: Path, over: threading.Event) -> None:
    name = os.urandom(8).hex()  # another one than a process's that was killed and left its file
    for count in itertools.count():
        with contextlib.suppress(OSError):  # a full disk is not the end of this process
            path.write_text(f"{name} {count}\n")
        if over.wait(BEAT_SECONDS):
            return


class RankZero:
    """What a waiting rank knows of rank zero: clocks of other machines play no part, only whether its file changes."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._sign: str | None = None
        self._sign = self._read()
        self._since = time.monotonic()
        self.was_seen = False

    def loss(self) -> str | None:
        """Returns in words why rank zero is lost; None: it lives, as far as is known."""
        sign, now = self._read(), time.monotonic()
        if sign != self._sign and sign is not None:
            self._sign, self._since, self.was_seen = sign, now, True
        if sign is None and self.was_seen:
            return "has ended"
        silence, patience = now - self._since, PATIENCE_SECONDS if self.was_seen else START_SECONDS
        return f"has given no sign of life for {silence:.0f} s" if silence > patience else None

    def _read(self) -> str | None:
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return None
        except OSError:
            return self._sign  # a moment's trouble of the file system says nothing


def wait_for_sign(folder: Path) -> None:
    """Returns when rank zero has begun its work in a run's folder: what it removes before is gone then."""
    rank_zero = RankZero(folder)
    while not rank_zero.was_seen and rank_zero.loss() is None:
        time.sleep(POLL_SECONDS)


def wait_for_artifact(folder: Path, identity: str) -> Artifact:
    """Returns the artifact that rank zero publishes, however long that takes; the others meet it after every stage.

    Args:
        folder: the stage's, in the run's folder.
        identity: the artifact's id.

    Raises:
        TimeoutError: rank zero has died or ended without it.
    """
    rank_zero, lived = RankZero(folder.parent), time.monotonic()
    while True:
        loss, now = rank_zero.loss(), time.monotonic()  # asked first: to publish may be its last act
        artifact = find(folder)
        if artifact is not None and artifact.id == identity:
            return artifact
        if loss is None:
            lived = now
        elif now - lived > SIGHT_SECONDS:
            raise TimeoutError(f"rank 0 must publish artifact {identity} in {folder}, but it {loss}.")
        time.sleep(POLL_SECONDS)
