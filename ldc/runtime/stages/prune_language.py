"""The stage that prunes language models: a teacher and calibration texts in, a smaller student out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from ldc.runtime.chain import Context, Result
from ldc.runtime.teachers import language_spec, teacher_identity

TEACHER, RANDOM = "teacher", "random"


@dataclass(frozen=True)
class PruneLanguage:
    """Plans by `pruner` and writes the student; conf/stages/prune_language.yaml says what each setting means."""

    teacher: Any
    pruner: Any
    data: DictConfig
    scores: str | None
    calibration: Mapping[str, Any]
    initialise: str = TEACHER
    seed: int = 0
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "language_student"
    trains = False

    def inputs(self) -> list[str]:
        return [] if self.scores is None else [self.scores]

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        raise NotImplementedError  # lands with the families and pruners that it calls

    def run(self, context: Context) -> Result:
        raise NotImplementedError  # lands with the families and pruners that it calls
