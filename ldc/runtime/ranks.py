"""Which of several processes this is, before any of them has joined the others."""

import os
import time
from pathlib import Path

from ldc.artifacts import Artifact, find

_NAMES = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
_POLL_SECONDS = 0.5


def is_rank_zero() -> bool:
    """Tells the process that writes what all share from its helpers."""
    return all(os.environ.get(name, "0") == "0" for name in _NAMES)


def wait_for_artifact(folder: Path, identity: str, timeout_seconds: float = 24 * 3600.0) -> Artifact:
    """Returns the artifact that rank zero publishes; the other ranks meet it here after every stage.

    Raises:
        TimeoutError: rank zero has not published in time.
    """
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        artifact = find(folder)
        if artifact is not None and artifact.id == identity:
            return artifact
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"{folder} must hold artifact {identity} within {timeout_seconds:g} s, but rank 0 made none.")
