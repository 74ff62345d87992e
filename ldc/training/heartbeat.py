"""Signs of life that the ranks of a fit leave in a folder which all of them see, so that a lost one can be named.

A rank's file says who it is, holds a count that rises while it lives, and at last why it has stopped. Clocks of
other machines play no part, nor does a pause of all: what counts is how often a rank has looked and seen no change.
"""

import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = ".ranks"
MAX_NAMED = 8
_SIZE = 4096  # bytes of a file, always: to write over it needs no room on a full disk
_MAX_REASON = 600  # characters
_BROKEN = re.compile(r"gloo|nccl|process group|connection (closed|reset|refused|aborted)|broken pipe", re.IGNORECASE)


class LostRankError(ConnectionError):
    """A rank has died or stopped, so the others cannot go on; the same command may be started again."""

    exit_code = os.EX_TEMPFAIL


class Sign(NamedTuple):
    """What a rank has said last."""

    life: str  # of the group: a file of another one is what a killed group left
    rank: int
    host: str
    process: int
    count: int
    stopped: str | None  # why

    @property
    def name(self) -> str:
        return f"rank {self.rank} ({self.host}, process {self.process})"


class Signs:
    """The files of one life of a group of ranks.

    Args:
        folder: the stage's folder.
        rank: of this process.
        life: a name that no other group that has run in this folder has had.
    """

    def __init__(self, folder: Path | str, rank: int, life: str):
        self.folder = Path(folder) / FOLDER
        self._sign = Sign(life, rank, socket.gethostname(), os.getpid(), 0, None)
        self._file: int | None = None

    def give(self, stopped: str | None = None) -> None:
        """Renews this rank's sign; trouble of the file system is no reason to stop training."""
        self._sign = self._sign._replace(count=self._sign.count + 1, stopped=stopped and stopped[:_MAX_REASON])
        with contextlib.suppress(OSError):
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path(self._sign.rank), os.O_CREAT | os.O_WRONLY)
            os.pwrite(self._file, json.dumps(self._sign, ensure_ascii=False).encode().ljust(_SIZE)[:_SIZE], 0)
            os.close(os.dup(self._file))  # NFS sends what was written at a close, even of a copy: others see it now

    def read(self, rank: int) -> Sign | None:
        """Returns what another rank of this life has said last; None: it has left, or never said anything."""
        try:
            sign = Sign(*json.loads(self._path(rank).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return sign if sign.life == self._sign.life else None

    def tell_loss(self, sentence: str) -> None:
        """Tells all ranks that the group is lost, and why; the first sentence stays."""
        with contextlib.suppress(OSError), self._loss.open("x") as file:
            file.write(sentence)

    def loss(self) -> str | None:
        """Returns the sentence that was told to all."""
        with contextlib.suppress(OSError):
            return self._loss.read_text() or None
        return None

    def leave(self) -> None:
        """Takes this rank's sign away: it ends in order."""
        self._close()
        with contextlib.suppress(OSError):
            self._path(self._sign.rank).unlink(missing_ok=True)
            self.folder.rmdir()  # the last one can

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    @property
    def _loss(self) -> Path:
        return self.folder / f"lost-{self._sign.life}.txt"

    def _path(self, rank: int) -> Path:
        return self.folder / f"rank-{rank:05d}.json"


class Watch:
    """Looks at the signs of some ranks again and again.

    Args:
        signs: of this process.
        ranks: those that are looked at.
    """

    def __init__(self, signs: Signs, ranks: Sequence[int]):
        self._signs = signs
        self._last = {rank: signs.read(rank) for rank in ranks}
        self._silence = dict.fromkeys(ranks, 0)

    def look(self) -> None:
        for rank, last in self._last.items():
            sign = self._signs.read(rank)
            is_silent = sign is not None and sign == last
            self._last[rank], self._silence[rank] = sign, self._silence[rank] + 1 if is_silent else 0

    def stopped(self) -> list[Sign]:
        """Returns those that have said why they stop."""
        return [sign for sign in self._last.values() if sign is not None and sign.stopped]

    def silent(self, looks: int) -> list[Sign]:
        """Returns those whose signs were the same for so many looks."""
        return [sign for rank, sign in self._last.items() if sign is not None and self._silence[rank] >= looks]


def clear(folder: Path | str) -> None:
    """Removes what an earlier life left, before this one begins."""
    shutil.rmtree(Path(folder) / FOLDER, ignore_errors=True)


def is_broken_connection(error: BaseException) -> bool:
    """Tells whether an error may have come from the loss of another rank."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RuntimeError | OSError) and _BROKEN.search(f"{type(seen).__name__} {seen}"):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def sentence(stopped: Sequence[Sign], silent: Sequence[Sign], seconds: float) -> str:
    """Returns what a user is told of lost ranks."""
    if stopped:
        words = f"{stopped[0].name} has stopped: {(stopped[0].stopped or '').rstrip('.')}"
    else:
        names = ", ".join(sign.name for sign in silent[:MAX_NAMED])
        more = f" and {len(silent) - MAX_NAMED} more" if len(silent) > MAX_NAMED else ""
        words = f"{names}{more} {'has' if len(silent) == 1 else 'have'} not been heard of for {seconds:.0f} s"
    return f"all ranks must live until the fit ends, but {words}; the same command goes on from the last checkpoint."
