"""Cached folders that are made once: complete or absent, also when two processes make them at the same time."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ldc.permissions import share, share_weights


def default_cache() -> Path:
    """Returns $LDC_CACHE, else `ldc` in the user's cache folder."""
    if own := os.environ.get("LDC_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ldc"


def make_once(folder: Path, build: Callable[[Path], None]) -> bool:
    """Makes `folder` by `build(temporary folder)` and a rename; returns whether this call made it.

    An existing folder is complete, so it is left as it is. When two processes build at once, the first rename wins and
    the other's copy is thrown away.
    """
    if folder.is_dir():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        build(temporary)
        share(temporary)
        share_weights(temporary)
        temporary.rename(folder)
    except OSError:
        if folder.is_dir():  # somebody else was faster: a rename onto a filled folder fails
            return False
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True
