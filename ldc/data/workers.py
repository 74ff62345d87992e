"""What a loader's worker process does before it reads."""

import signal


def leave_interrupts(worker: int) -> None:  # noqa: ARG001 - DataLoader's contract
    """Ignores Ctrl-C, which a terminal sends to every process: the trainer reads on until its state is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
