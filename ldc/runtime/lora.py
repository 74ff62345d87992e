"""The `lora` settings of a fit: adapters instead of all weights, and which network is their teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEACHERS = ("self", "other")


@dataclass(frozen=True)
class Lora:
    """What a fit's `lora` says.

    rank, alpha: W + (alpha / rank) B A.
    teacher: "self", the student with its adapters off, one copy of the weights; "other", the stage's teacher.

    Raises:
        ValueError: one of them cannot be.
    """

    rank: int
    alpha: int
    teacher: str = "self"

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if getattr(self, name) < 1:
                raise ValueError(f"lora.{name} must be at least 1, not {getattr(self, name)}.")
        if self.teacher not in TEACHERS:
            raise ValueError(f"lora.teacher must be {' or '.join(TEACHERS)}, not {self.teacher!r}.")

    @property
    def is_own_teacher(self) -> bool:
        return self.teacher == "self"

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> "Lora | None":
        """Returns the settings, None where all weights are trained.

        Raises:
            ValueError: a key is missing or unknown, or a value cannot be.
        """
        if config is None:
            return None
        if not {"rank", "alpha"} <= config.keys() <= {"rank", "alpha", "teacher"}:
            raise ValueError(
                f"lora must have rank, alpha and, as an option, teacher, not {', '.join(map(str, config))}."
            )
        return cls(**config)
