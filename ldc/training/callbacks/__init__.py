"""What a fit does beside its steps."""

from ldc.training.callbacks.accumulation import Accumulation
from ldc.training.callbacks.averaging import WeightAverage
from ldc.training.callbacks.best_weights import BestWeights
from ldc.training.callbacks.checkpoint import Checkpoints
from ldc.training.callbacks.finite import FiniteCheck, NonFiniteError
from ldc.training.callbacks.grids import SampleGrids
from ldc.training.callbacks.guard_times import GuardTimes
from ldc.training.callbacks.heartbeat import Heartbeat
from ldc.training.callbacks.held_out import HeldOut
from ldc.training.callbacks.network_seed import NetworkSeed
from ldc.training.callbacks.preemption import Preemption
from ldc.training.callbacks.progress import Progress
from ldc.training.callbacks.step_times import StepTimes
from ldc.training.callbacks.weighted_mean import WeightedMean

__all__ = [
    "Accumulation",
    "BestWeights",
    "Checkpoints",
    "FiniteCheck",
    "GuardTimes",
    "Heartbeat",
    "HeldOut",
    "NetworkSeed",
    "NonFiniteError",
    "Preemption",
    "Progress",
    "SampleGrids",
    "StepTimes",
    "WeightAverage",
    "WeightedMean",
]
