"""The settings of a fit that can be stopped from outside."""

from dataclasses import dataclass

from ldc.training.preemption.causes import Cause
from ldc.training.preemption.time_limit import TimeLimit, seconds


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When a fit stops before its end, and whether its SLURM job is then queued again.

    Args:
        time_limit: "HH:MM:SS" or "D-HH:MM:SS" from the start of the process; a SLURM job's own end counts without it.
        stop_before_limit_seconds: what is left for saving and leaving.
        requeue: under SLURM, SIGUSR1 and the limit queue the job again.
        requeue_on_sigterm: so does SIGTERM. SLURM sends it for `scancel`, which means an end, and for preemption, after
            which it queues the job itself where the partition says so.

    Raises:
        ValueError: the limit has another form, or the seconds are negative.
    """

    time_limit: str | int | None = None
    stop_before_limit_seconds: float = 120.0
    requeue: bool = True
    requeue_on_sigterm: bool = False

    def __post_init__(self) -> None:
        if self.time_limit is not None:
            seconds(self.time_limit)
        if self.stop_before_limit_seconds < 0:
            raise ValueError(
                f"stop_before_limit_seconds must not be negative, but is {self.stop_before_limit_seconds}."
            )

    def limit(self) -> TimeLimit:
        """Returns this process's time limit."""
        return TimeLimit.of_process(self.time_limit, self.stop_before_limit_seconds)

    def requeues(self, cause: Cause) -> bool:
        """Returns whether a job that stops for this cause is to be queued again."""
        wanted = {Cause.TIME_LIMIT, Cause.SIGUSR1} | ({Cause.SIGTERM} if self.requeue_on_sigterm else set())
        return self.requeue and cause in wanted
