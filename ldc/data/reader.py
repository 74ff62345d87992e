"""Constant-time reading of one sample out of a tar, by its index; knows nothing of images or captions."""

import os
from collections import OrderedDict
from collections.abc import Collection
from io import FileIO
from pathlib import Path
from typing import Any

from ldc.data.index import Index


class TarReader:
    """Reads members of indexed tars by (offset, size), with at most `max_open` files open in a process.

    `pread` leaves the file's position alone, so forked workers may share a reader; a pickled one opens its own files.
    """

    def __init__(self, max_open: int = 16) -> None:
        self.max_open = max_open
        self._files: OrderedDict[Path, FileIO] = OrderedDict()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes the open files; reading opens them again."""
        while self._files:
            self._files.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {"max_open": self.max_open, "_files": OrderedDict()}

    def read(self, index: Index, place: int, only: Collection[str] | None = None) -> dict[str, bytes]:
        """Returns {extension: bytes} of one sample: all members, or those whose extension is in `only`.

        Raises:
            ValueError: the tar has become shorter than its index says, is gone, or cannot be read any more.
        """
        members = {}
        for extension, (offset, size) in index.members(place).items():
            if only is None or extension in only:
                members[extension] = self._bytes(index.tar, offset, size)
                if len(members[extension]) != size:
                    raise ValueError(f"{index.tar} must not change while it is read, but it has become shorter.")
        return members

    def _bytes(self, tar: Path, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._open(tar).fileno(), size, offset)
        except FileNotFoundError as error:
            raise ValueError(f"{tar} must stay in its place while it is read, but it is gone.") from error
        except OSError as error:  # such as the stale handle of a file that was replaced on a server
            raise ValueError(f"{tar} must stay readable, but reading it failed: {error.strerror}.") from error

    def _open(self, tar: Path) -> FileIO:
        if tar in self._files:
            self._files.move_to_end(tar)
            return self._files[tar]
        while len(self._files) >= self.max_open:
            self._files.popitem(last=False)[1].close()
        self._files[tar] = FileIO(tar, "r")
        return self._files[tar]
