"""Modes of files that come to be under a temporary name: those that the user's umask gives to every other file.

tempfile makes files and folders for their owner alone, and so does safetensors since 0.8 with all weights (its issue
782), while runs and caches belong to a team.
"""

import contextlib
import os
import stat
from pathlib import Path


def share(path: Path) -> None:
    """Gives a file or folder of ours the mode that it would have, had it been made without a temporary name."""
    umask = os.umask(0o077)  # there is no other way to ask; a thread that makes a file meanwhile makes it for us alone
    os.umask(umask)
    if path.is_dir():
        path.chmod(0o777 & ~umask | path.parent.stat().st_mode & stat.S_ISGID)  # a team's folder hands its group on
    else:
        path.chmod(0o666 & ~umask)


def share_weights(folder: Path) -> None:
    """Does so with the weights in a folder, and below; what is linked is somebody else's, and stays as it is."""
    for path in folder.rglob("*.safetensors"):
        if not path.is_symlink() and path.stat().st_nlink == 1:
            with contextlib.suppress(PermissionError):  # another user's, in a folder that we share
                share(path)
