"""Training: one LightningModule, its callbacks and loggers, and `fit`. The only package that imports lightning."""

from ldc.training.callbacks import (
    BestWeights,
    Checkpoints,
    FiniteCheck,
    GuardTimes,
    HeldOut,
    NonFiniteError,
    SampleGrids,
    StepTimes,
    WeightAverage,
)
from ldc.training.fit import FitResult, fit
from ldc.training.loggers import loggers
from ldc.training.module import DistillationModule
from ldc.training.optimizers import adamw
from ldc.training.preemption import Interrupted, Stopping
from ldc.training.reading import first_batches
from ldc.training.schedules import constant, constant_with_warmup, cosine, linear

__all__ = [
    "BestWeights",
    "Checkpoints",
    "DistillationModule",
    "FiniteCheck",
    "FitResult",
    "GuardTimes",
    "HeldOut",
    "Interrupted",
    "NonFiniteError",
    "SampleGrids",
    "StepTimes",
    "Stopping",
    "WeightAverage",
    "adamw",
    "constant",
    "constant_with_warmup",
    "cosine",
    "first_batches",
    "fit",
    "linear",
    "loggers",
]
