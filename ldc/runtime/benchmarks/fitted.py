"""Times the steps of a real fit: `ldc.training.fit` on cached latents, with networks of random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ldc.data.module import LatentDataModule
from ldc.runtime.benchmarks.cases import Case
from ldc.training import DistillationModule, StepTimes, WeightAverage, adamw, fit

LEARNING_RATE = 1e-5
GRADIENT_CLIP = 1.0


@dataclass(frozen=True, kw_only=True)
class How:
    """How networks are trained: as the keys of `conf/trainer` say it, for one device.

    device: cpu or cuda. warmup, steps: optimizer steps that are not counted, and that are.
    """

    warmup: int
    steps: int
    batch_size: int
    device: str = "cpu"
    num_workers: int = 0
    precision: str = "32-true"
    compile: bool = False
    channels_last: bool = False
    teacher_dtype: str | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name, least in (("warmup", 0), ("steps", 1), ("batch_size", 1), ("num_workers", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number from {least}, not {value!r}.")


def fit_steps(
    case: Case,
    student: Any,
    teacher: Any,
    how: How,
    *,
    cache: Path,
    folder: Path,
    seed: int = 0,
    between: Callable[[], Any] | None = None,
) -> list[float]:
    """Trains `warmup + steps` optimizer steps and returns the seconds of each.

    Args:
        case: says how `student` is trained from `teacher`.
        student: a network of the case's student, trained in place.
        teacher: one of the case's teacher.
        how: settings of the fit.
        cache: folder of cached latents.
        folder: for what the fit writes.
        seed: of the order of the data and of all draws.
        between: called after each step, outside its time.
    """
    module = DistillationModule(
        case.objective,
        student,
        teacher,
        optimizer=partial(adamw, lr=LEARNING_RATE),
        target_decay=case.target_decay,
        gradient_checkpointing=how.gradient_checkpointing,
        compile=how.compile,
        channels_last=how.channels_last,
        teacher_dtype=how.teacher_dtype,
    )
    total = how.warmup + how.steps
    times = StepTimes(total, how.device, between)
    fit(
        module,
        LatentDataModule(cache, how.batch_size, seed, num_workers=how.num_workers),
        folder=folder,
        max_steps=total + 1,  # so that no checkpoint is written: a whole fit ends with one, these steps do not
        checkpoint_every_n_steps=total + 1,
        precision=how.precision,
        accelerator="gpu" if how.device == "cuda" else how.device,
        devices=1,
        gradient_clip_val=GRADIENT_CLIP,
        average=None if case.averaging is None else WeightAverage(case.averaging),
        callbacks=[times],
        progress=False,
    )
    return times.stopwatch.laps()
