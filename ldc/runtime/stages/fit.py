"""The stage that trains: a student, a teacher and cached latents in, a published student folder out."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig

from ldc.artifacts import Artifact
from ldc.data.encoded import Encoded
from ldc.data.module import LatentDataModule
from ldc.models import (
    LatentDiffusion,
    build_student,
    check_compatible,
    check_teacher,
    lcm_scheduler,
    load_student,
    load_teacher,
    save_student,
)
from ldc.objectives.lora import AdaptersOff, add_lora
from ldc.runtime.chain import Context, Result
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.grids import grid_renderer
from ldc.runtime.objectives import build_objective, student_guidance
from ldc.runtime.online_text import OnlineText
from ldc.runtime.teachers import teacher_identity, teacher_spec
from ldc.surgery import Plan
from ldc.training import FitResult, SampleGrids

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fit(Fitting):
    """Trains `student` by `objective`; conf/stages/fit.yaml says what each setting means."""

    student: str
    teacher: Any
    encoded: str
    objective: DictConfig
    caption_dropout: float
    target_decay: float | None
    lora: Mapping[str, Any] | None
    publish: str
    grids: Mapping[str, Any] = field(default_factory=dict)

    kind = "student"

    def inputs(self) -> list[str]:
        return [self.encoded, self.student]

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        check_teacher(teacher_spec(self.teacher))
        if self.publish not in {"model", "lcm"}:
            raise ValueError(f"publish must be model or lcm, not {self.publish!r}.")
        self.check_settings(cfg)

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial values of adapters; what concerns samples has draws of its own
        parent = context.inputs[self.student]
        teacher = load_teacher(teacher_spec(self.teacher))
        plan = Plan.load(parent.folder / "plan.json")
        objective = build_objective(self.objective, teacher, plan, self.seed)
        unet = self._student(parent, objective)
        check_compatible(teacher, unet)
        encoded = Encoded(context.inputs[self.encoded].outputs["encoded"])
        module = self.module(
            objective,
            unet,
            AdaptersOff(unet) if self._is_own_teacher() else teacher.unet,
            target_decay=self.target_decay,
            encode=OnlineText(teacher) if encoded.empty_text is None else None,
        )
        data = LatentDataModule(
            encoded.folder,
            self.batch_size,
            self.seed,
            caption_dropout=self.caption_dropout,
            num_workers=self.num_workers,
        )
        result = self.fit(context, module, data, self._grids(context, teacher, objective))
        return self._publish(context, result, unet, plan, teacher, objective)

    def _student(self, parent: Artifact, objective: Any) -> Any:
        unet = load_student(parent.folder).unet
        if self.lora is not None:
            rank, alpha = self.lora["rank"], self.lora["alpha"]
            return add_lora(build_student(unet, Plan(())), rank, alpha)
        return build_student(unet, Plan(()), getattr(objective, "guidance_embedding_dim", None))

    def _is_own_teacher(self) -> bool:
        return self.lora is not None and self.lora.get("teacher") == "self"

    def _grids(self, context: Context, teacher: LatentDiffusion, objective: Any) -> list[SampleGrids]:
        prompts = list(self.grids["prompts"] or context.cfg.data.get("prompts") or [])[: self.grids["columns"]]
        guidance = student_guidance(objective, teacher)
        scheduler = lcm_scheduler(teacher.scheduler_config) if self.publish == "lcm" else teacher.scheduler_config
        draw = grid_renderer(teacher, scheduler, guidance, prompts, self.seed)
        if draw is None:
            return []
        return [SampleGrids(draw, context.folder, self.grids["every"], self.grids["steps"])]

    def _publish(
        self, context: Context, result: FitResult, unet: Any, plan: Plan, teacher: LatentDiffusion, objective: Any
    ) -> Result:
        steps = objective.solver.num_steps if self.publish == "lcm" else 50
        with published(result, unet):
            if self.lora is not None:
                unet.save_lora_adapter(context.folder / "lora")
                unet.fuse_lora()
                unet.unload_lora()
            save_student(
                context.folder, unet, plan, teacher, consistency=self.publish == "lcm", original_inference_steps=steps
            )
        return Result(
            plan_fingerprint=plan.fingerprint,
            samples_seen=result.samples_seen,
            weights=which_weights(result),
            guidance=student_guidance(objective, teacher)._asdict(),
            metrics={"steps": result.steps, **result.metrics},
            outputs={"student": str(context.folder / "unet")},
        )
