"""The stage that prunes: a teacher in, its student with every tensor taken from the teacher, or none, out."""

import logging
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.families import plan_rows, plan_table
from ldc.models import (
    build_random_student,
    build_student,
    check_teacher,
    initialised_from_teacher,
    load_teacher,
    meta_unet,
    save_student,
    text_tokens,
)
from ldc.profiling import macs, params
from ldc.runtime.chain import Context, Result
from ldc.runtime.stage_settings import StageSettingError
from ldc.runtime.teachers import teacher_identity, teacher_spec

TEACHER, RANDOM = "teacher", "random"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prune:
    """Plans by `pruner` on `teacher` and writes the student; conf/stages/prune.yaml says what each setting means."""

    teacher: Any
    pruner: Any
    initialise: str = TEACHER
    seed: int = 0

    kind = "student"
    trains = False

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        if self.initialise not in {TEACHER, RANDOM}:
            raise StageSettingError(f"initialise must be {TEACHER} or {RANDOM}, not {self.initialise!r}.")
        spec = teacher_spec(self.teacher)
        check_teacher(spec)
        instantiate(self.pruner).plan(meta_unet(spec))  # a topology that the variant does not fit is refused here

    def run(self, context: Context) -> Result:
        spec = teacher_spec(self.teacher)
        teacher = load_teacher(spec)
        plan = instantiate(self.pruner).plan(teacher.unet)
        unet = build_student(teacher.unet, plan)
        log.info("%s", plan_table(plan_rows(teacher.unet, unet, plan)))
        if self.initialise == RANDOM:
            unet = build_random_student(unet, self.seed)
        save_student(context.folder, unet, plan, teacher)
        counts = macs(unet, unet.config.sample_size, text_tokens(spec))
        initialised = initialised_from_teacher(unet, teacher.unet, plan)
        return Result(
            plan_fingerprint=plan.fingerprint,
            weights="pruned" if self.initialise == TEACHER else "random",
            guidance=teacher.guidance._asdict(),
            metrics={"params": params(unet), "initialised_from_teacher": initialised, **counts},
            outputs={"student": str(context.folder / "unet")},
        )
