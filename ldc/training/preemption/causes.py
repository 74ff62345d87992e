"""Why a fit stops before its last step."""

import signal
from enum import IntEnum


class Interrupted(SystemExit):
    """The fit was told to stop; the exit code is 128 + the signal's number, and never 0, since the work is not done."""


class Cause(IntEnum):
    """Why a fit stops: one byte; where several meet, on one rank or on several, the largest counts.

    A user's Ctrl-C beats all, and is never requeued. SIGUSR1 and the time limit ask to go on later, and beat the
    SIGTERM by which SLURM follows them.
    """

    NONE = 0
    SIGTERM = 1
    TIME_LIMIT = 2
    SIGUSR1 = 3
    SIGINT = 4

    @classmethod
    def of(cls, number: int) -> "Cause":
        """Returns the cause that a signal is."""
        return cls[signal.Signals(number).name]

    @property
    def exit_code(self) -> int:
        """128 + the signal's number; the time limit ends as SIGUSR1 does, by which SLURM announces its own."""
        name = "SIGUSR1" if self is Cause.TIME_LIMIT else self.name
        return 128 + signal.Signals[name]

    def __str__(self) -> str:
        return "time limit" if self is Cause.TIME_LIMIT else self.name
