"""The stage that quantises a language model to a few bits a weight: a student or the teacher in, a stock folder out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from ldc.models.language import LANGUAGE_KIND, check_language_teacher
from ldc.runtime.chain import Context, Result
from ldc.runtime.quantizing import (
    check_quantisable,
    check_quantisable_stage,
    check_windows,
    gptq_settings,
    quantize,
)
from ldc.runtime.requirements import check_kind
from ldc.runtime.stage_settings import stage_settings
from ldc.runtime.teachers import language_spec, teacher_identity


@dataclass(frozen=True)
class QuantizeLanguage:
    """Quantises `student`, or `teacher`, by GPTQ.

    conf/stages/quantize_language.yaml says what each setting means, and conf/quantizer/gptq.yaml what those of GPTQ do.
    """

    teacher: Any
    student: str | None
    data: DictConfig
    calibration: Mapping[str, Any]
    bits: int = 4
    group_size: int | str | None = None
    act_order: bool = True
    damp: float = 0.01
    symmetric: bool = True
    sequential: bool = True
    other_dtype: str = "float16"
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = LANGUAGE_KIND
    trains = False

    def inputs(self) -> list[str]:
        return [] if self.student is None else [self.student]

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        spec = language_spec(self.teacher)
        check_language_teacher(spec)
        check_windows(self.data, self.calibration, spec)
        if self.student is not None:
            check_kind(cfg, "student", self.student, LANGUAGE_KIND)
            check_quantisable_stage(cfg, self.student)
        with stage_settings():
            settings = gptq_settings(vars(self))
        check_quantisable(spec, settings)  # the blocks of a student are as wide

    def run(self, context: Context) -> Result:
        spec, settings, plan = language_spec(self.teacher), gptq_settings(vars(self)), None
        if self.student is not None:
            parent = context.inputs[self.student]
            plan = parent.plan_fingerprint
            spec = replace(spec, path_or_id=str(parent.folder), weights="pretrained", architecture=None, quantised=None)
            check_quantisable(spec, settings)
        cache, device = self.loader["cache"], self.loader["device"]
        facts = quantize(spec, settings, self.data, self.calibration, context.folder, cache, device)
        return Result(
            plan_fingerprint=plan,
            weights="quantised",
            metrics=facts,
            outputs={"student": str(context.folder)},
        )
