"""The `lora` settings of a fit: adapters instead of all weights, and which network is their teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldc.objectives.lora import LCM_LORA_TARGETS, add_lora

TEACHERS = ("self", "other")


@dataclass(frozen=True)
class Lora:
    """What a fit's `lora` says.

    rank, alpha: W + (alpha / rank) B A.
    dropout: share of an adapter's inputs that training leaves out.
    targets: ends of the names of the modules that are adapted; None: those of the published recipe.
    teacher: "self", the student with its adapters off, one copy of the weights; "other", the stage's teacher.

    Raises:
        ValueError: one of them cannot be.
    """

    rank: int
    alpha: int
    teacher: str = "self"
    dropout: float = 0.0
    targets: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if getattr(self, name) < 1:
                raise ValueError(f"lora.{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout must be in [0, 1), not {self.dropout}.")
        if isinstance(self.targets, str):
            raise ValueError(f"lora.targets must be a list of module names, not {self.targets!r}.")  # noqa: TRY004
        if self.teacher not in TEACHERS:
            raise ValueError(f"lora.teacher must be {' or '.join(TEACHERS)}, not {self.teacher!r}.")

    @property
    def is_own_teacher(self) -> bool:
        return self.teacher == "self"

    def add_to(self, network: Any, targets: Sequence[str] = LCM_LORA_TARGETS) -> Any:
        """Returns the network with adapters, added in place; `targets` count where the settings name none."""
        return add_lora(network, self.rank, self.alpha, self.targets or targets, self.dropout)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> "Lora | None":
        """Returns the settings, None where all weights are trained.

        Raises:
            ValueError: a key is missing or unknown, or a value cannot be.
        """
        if config is None:
            return None
        if not {"rank", "alpha"} <= config.keys() <= {"rank", "alpha", "teacher", "dropout", "targets"}:
            raise ValueError(
                "lora must have rank, alpha and, as options, teacher, dropout and targets,"
                f" not {', '.join(map(str, config))}."
            )
        return cls(**config)
