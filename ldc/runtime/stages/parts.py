"""The stage that takes a published teacher apart, so that its training can go on."""

import json
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ldc.models import check_teacher, load_teacher
from ldc.profiling import params
from ldc.runtime.chain import Context, Result
from ldc.runtime.parts import SCHEDULER, TEXT_ENCODER, TOKENIZER, UNET, VAE, save_part
from ldc.runtime.requirements import check_tokenizer
from ldc.runtime.teachers import teacher_identity, teacher_spec


@dataclass(frozen=True)
class Parts:
    """Writes the parts of `teacher` as the stages that train parts write them; conf/stages/parts.yaml."""

    teacher: Any

    kind = "parts"
    trains = False

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        spec = teacher_spec(self.teacher)
        if spec.weights == "random":
            raise ValueError("teacher.weights must be pretrained where training goes on from it, not 'random'.")
        check_teacher(spec)
        check_tokenizer(spec, dry_run=cfg.dry_run)

    def run(self, context: Context) -> Result:
        teacher = load_teacher(teacher_spec(self.teacher))
        save_part(teacher.unet, context.folder / UNET)
        save_part(teacher.vae, context.folder / VAE)
        teacher.text_encoder.save_pretrained(context.folder / TEXT_ENCODER, safe_serialization=True)
        teacher.tokenizer.save_pretrained(context.folder / TOKENIZER)
        (context.folder / SCHEDULER).write_text(json.dumps(teacher.scheduler_config, indent=2))
        return Result(metrics={"params": params(teacher.unet)})
