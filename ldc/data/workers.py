"""What a loader's worker process does before it reads."""

import signal

_SECONDS = 600


def leave_interrupts(worker: int) -> None:  # noqa: ARG001 - DataLoader's contract
    """Lets signals to all processes pass, Ctrl-C or SLURM's: the trainer reads on until its state is saved.

    SIGTERM ends a worker ten minutes later, so that one that hangs does not outlive its trainer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS))
