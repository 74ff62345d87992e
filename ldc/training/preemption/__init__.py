"""How a fit is stopped from outside and goes on later: signals, agreement of the ranks, time limit, requeueing."""

from ldc.training.preemption.agreement import Agreement
from ldc.training.preemption.causes import Cause, Interrupted
from ldc.training.preemption.requeue import job_id, requeue
from ldc.training.preemption.signals import Signals
from ldc.training.preemption.stopping import Stopping
from ldc.training.preemption.takeover import release_helpers, take_over_signals
from ldc.training.preemption.time_limit import TimeLimit, seconds

__all__ = [
    "Agreement",
    "Cause",
    "Interrupted",
    "Signals",
    "Stopping",
    "TimeLimit",
    "job_id",
    "release_helpers",
    "requeue",
    "seconds",
    "take_over_signals",
]
