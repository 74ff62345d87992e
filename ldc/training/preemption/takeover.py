"""Takes from Lightning what it does about signals, which would save, broadcast and kill inside a handler."""

import threading
from typing import Any


def take_over_signals(trainer: Any) -> None:
    """Keeps a Trainer from handling signals, under SLURM too, and from asking all ranks about SIGTERM at every batch.

    That question is a broadcast that each rank waits for, on a GPU for everything that it has queued: our agreement
    needs none.
    """
    trainer._signal_connector.register_signal_handlers = _nothing  # noqa: SLF001 - no public switch, in 2.6
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # noqa: SLF001


def release_helpers() -> None:
    """Lets the processes that Lightning's launcher started end with our exit codes.

    It watches them, and would kill this process when the first one ends with another code than 0.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._child_processes = []  # pyrefly: ignore  # noqa: SLF001 - it then has nobody to watch, and ends


def _nothing() -> None:
    """Stands where Lightning would act."""
