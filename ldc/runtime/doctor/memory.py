"""What of a step's memory one rank holds, by strategy: arithmetic on the sizes of a simulated micro-batch.

    what                  ddp      fsdp2    zero1    zero2    zero3        N ranks
    student's weights     1        1/N      1        1        1/N
    gradients             1        1/N      1        1/N      1/N
    optimizer's moments   1        1/N      1/N      1/N      1/N
    target                1        1/N      1        1        1/N
    published average     1        1/N      1/N      1/N      1/N
    teacher               1        1 *      1        1        1            * 1/N with trainer.shard_teacher

On top come buffers: FSDP2 gathers two blocks of weights at a time (one is prefetched) and has a block's whole
gradients; DeepSpeed keeps a copy of this rank's part of the weights, which its optimizer updates, two buckets, and
under ZeRO-3 up to the whole student gathered. Copies of weights that autocast makes are whole under every strategy.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ldc.runtime.doctor.steps import Step

BUCKET = 50_000_000 * 4  # bytes that DeepSpeed reduces or gathers at a time (ldc.training.strategies.zero)
_ALL = frozenset({"weights", "gradients", "moments", "target", "average"})
SHARDED: dict[str, frozenset[str]] = {
    "auto": frozenset(),
    "ddp": frozenset(),
    "ddp_fork": frozenset(),
    "fsdp2": _ALL,
    "deepspeed_zero1": frozenset({"moments", "average"}),
    "deepspeed_zero2": frozenset({"moments", "average", "gradients"}),
    "deepspeed_zero3": _ALL,
}


@dataclass(frozen=True)
class Sharding:
    """How a fit is divided among ranks, and what of it asks for memory of its own."""

    strategy: str
    ranks: int
    shard_teacher: bool = False
    averaging: bool = False
    accumulate: int = 1

    def share(self, what: str) -> float:
        """Returns the part of it that a rank holds.

        Raises:
            ValueError: the strategy is unknown.
        """
        if self.strategy not in SHARDED:
            raise ValueError(f"strategy must be one of {', '.join(SHARDED)} to be estimated, not {self.strategy!r}.")
        is_sharded = self.shard_teacher if what == "teacher" else what in SHARDED[self.strategy]
        return 1 / self.ranks if is_sharded else 1.0


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank at the highest point of a step; activations are what it takes then beside the other entries."""

    weights: float
    gradients: float
    moments: float
    target: float
    average: float
    teacher: float
    encoders: float
    buffers: float
    activations: float

    @property
    def total(self) -> float:
        return sum(asdict(self).values())


def on_one_rank(step: Step, sharding: Sharding, block: int) -> Memory:
    """Returns the memory of a rank; `block` is the bytes of weights that FSDP2 gathers at a time.

    The gradients of the step before are there until the forward pass ends, and with accumulation all the time.
    """
    whole = {
        "weights": step.student,
        "gradients": step.trained,
        "moments": step.moments,
        "target": step.target,
        "average": step.trained if sharding.averaging else 0,
        "teacher": step.teacher,
    }
    held = {name: size * sharding.share(name) for name, size in whole.items()}
    gradients = held["gradients"]
    peaks = (step.encode + gradients, _highest(step.forward) + gradients, _backward(step, sharding, gradients))
    return Memory(
        **held,
        encoders=step.encoders,
        buffers=_buffers(step, sharding, block),
        activations=max(peaks) - gradients,
    )


def _highest(rows: np.ndarray) -> float:
    return float(rows[:, 1:].sum(1).max(initial=0))  # casts and activations


def _backward(step: Step, sharding: Sharding, gradients: float) -> float:
    if sharding.accumulate > 1:
        return _highest(step.backward) + gradients
    weights = np.array([sharding.share("gradients"), 1.0, 1.0])
    return float((step.backward @ weights).max(initial=0))


def _buffers(step: Step, sharding: Sharding, block: int) -> float:
    if sharding.ranks == 1 or sharding.strategy in {"auto", "ddp", "ddp_fork"}:
        return 0.0
    if sharding.strategy == "fsdp2":
        return 3.0 * block
    gathered = step.student if sharding.strategy == "deepspeed_zero3" else 0
    return step.trained / sharding.ranks + 2 * min(BUCKET, step.trained) + gathered
