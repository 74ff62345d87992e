"""Puts files and folders on the disk itself, where a crash of the machine does not reach them."""

import errno
import os
from pathlib import Path

_NOT_THERE = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # file systems that cannot sync a folder say one of these


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NOT_THERE:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Syncs all files below a folder, then the folders from the deepest up, then the folder."""
    paths = sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True)
    for path in [*filter(Path.is_file, paths), *filter(Path.is_dir, paths), folder]:
        sync(path)
