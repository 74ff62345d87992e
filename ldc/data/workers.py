"""What a loader's worker process does before it reads, and what becomes of its errors."""

import signal
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_SECONDS = 600


def leave_interrupts(worker: int) -> None:  # noqa: ARG001 - DataLoader's contract
    """Lets signals to all processes pass, Ctrl-C or SLURM's: the trainer reads on until its state is saved.

    SIGTERM ends a worker ten minutes later, so that one that hangs does not outlive its trainer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS))


def plain_errors(batches: Iterator[T]) -> Iterator[T]:
    """Passes batches on; an error is raised in the words of the reader that met it, wherever that ran.

    A DataLoader puts the worker's whole traceback into the message; here it is the error's cause.
    """
    try:
        yield from batches
    except (ValueError, OSError) as error:
        sentence = str(error).strip().rpartition(f"\n{type(error).__name__}: ")[2]
        if not str(error).startswith("Caught ") or "\n" in sentence:
            raise
        raise type(error)(sentence) from error
