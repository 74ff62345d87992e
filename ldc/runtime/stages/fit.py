"""The stage that trains: a student, a teacher and cached latents or pixels in, a published student folder out."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from ldc.data.draws import check_dropout
from ldc.data.encoded import Encoded
from ldc.data.module import LatentDataModule, StreamDataModule
from ldc.models import (
    LatentDiffusion,
    Teacher,
    build_student,
    check_compatible,
    check_teacher,
    lcm_scheduler,
    load_student,
    load_teacher,
    merge_adapters,
    save_adapters,
    save_student,
)
from ldc.objectives.lora import AdaptersOff
from ldc.runtime.chain import Context, Result
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.grids import grid_renderer
from ldc.runtime.lora import Lora
from ldc.runtime.objectives import build_objective, student_guidance
from ldc.runtime.online import OnlineEncoder
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.readers import check_online, pixel_reader
from ldc.runtime.requirements import check_kind, check_tokenizer, meta_teacher, warn_of_size
from ldc.runtime.sources import image_source
from ldc.runtime.teachers import teacher_identity, teacher_spec
from ldc.surgery import Plan
from ldc.training import FitResult, SampleGrids
from ldc.training.module import check_needs
from ldc.training.networks import floating_dtype

log = logging.getLogger(__name__)
TEACHER = "teacher"


@dataclass(frozen=True, kw_only=True)
class Fit(Fitting):
    """Trains `student` by `objective`; conf/stage/fit.yaml says what each setting means."""

    data: DictConfig
    student: str
    teacher: Any
    encoded: str | None
    online: Mapping[str, Any]
    objective: DictConfig
    caption_dropout: float
    target_decay: float | None
    lora: Mapping[str, Any] | None
    publish: str
    grids: Mapping[str, Any] = field(default_factory=dict)

    kind = "student"
    trains = True

    def inputs(self) -> list[str]:
        return [name for name in (self.encoded, self.student) if name is not None and name != TEACHER]

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        for check in self.checks(cfg):
            check()

    def checks(self, cfg: DictConfig) -> list[Callable[[], Any]]:
        """Returns the parts of `check`, each of which can be called on its own."""
        spec = teacher_spec(self.teacher)
        return [
            partial(check_teacher, spec),
            partial(self.check_settings, cfg),
            partial(check_dropout, self.caption_dropout),
            partial(self._check_data, cfg),
            partial(self._check_names, cfg),
            self._check_lora,
            partial(self._check_objective, spec),
        ]

    def _check_names(self, cfg: DictConfig) -> None:
        if self.publish not in {"model", "lcm"}:
            raise ValueError(f"publish must be model or lcm, not {self.publish!r}.")
        if self.student != TEACHER:
            check_kind(cfg, "student", self.student, self.kind)
        if self.trainer["teacher_dtype"] is not None:
            floating_dtype(self.trainer["teacher_dtype"])

    def _check_objective(self, spec: Teacher) -> None:
        meta = meta_teacher(spec)
        check_needs(build_objective(self.objective, meta, Plan(()), self.seed), meta, self.target_decay)

    def _check_data(self, cfg: DictConfig) -> None:
        spec, source = teacher_spec(self.teacher), image_source(self.data)
        warn_of_size(spec, self.data.size)
        if self.encoded is None:
            source.check()
            check_online(self.online)
        else:
            check_kind(cfg, "encoded", self.encoded, "latents")
            if cfg.stages[self.encoded].get("text", True):
                return
        check_tokenizer(spec, dry_run=cfg.dry_run)

    def _check_lora(self) -> None:
        lora = Lora.from_config(self.lora)
        if lora is None:
            return
        width, dtype = self.objective.get("guidance_embedding_dim"), self.trainer["teacher_dtype"]
        if width is not None:
            raise ValueError(f"guidance_embedding_dim must be null with lora, which adds no input, not {width}.")
        if lora.is_own_teacher and self.trainer["shard_teacher"]:
            raise ValueError("trainer.shard_teacher must be false with lora.teacher=self, which has no own weights.")
        if lora.is_own_teacher and dtype is not None:
            raise ValueError(
                f"trainer.teacher_dtype must be null with lora.teacher=self, which has no own weights, not {dtype!r}."
            )

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial values of adapters; what concerns samples has draws of its own
        teacher, lora = self._teacher(), Lora.from_config(self.lora)
        base, plan = self._base(context, teacher)
        own = lora is not None and lora.is_own_teacher
        if own:
            teacher = replace(teacher, unet=base)
        objective = build_objective(self.objective, teacher, Plan(()) if own else plan, self.seed)
        unet = self._student(base, teacher, lora, objective)
        del base  # copied: a fit must not hold the weights that it started from
        check_compatible(teacher, unet)
        data, encode = self._data(context, teacher)
        module = self.module(
            objective,
            unet,
            AdaptersOff(unet) if own else teacher.unet,
            target_decay=self.target_decay,
            encode=encode,
        )
        result = self.fit(context, module, data, self._grids(context, teacher, objective))
        if not is_rank_zero():
            return Result()  # rank zero publishes
        return self._publish(context, result, unet, plan, teacher, objective)

    def _teacher(self) -> LatentDiffusion:
        """Returns the teacher; its U-Net at once in the fit's precision, unless the student is a copy of it."""
        dtype = self.trainer["teacher_dtype"]
        cast = None if dtype is None or self.student == TEACHER else floating_dtype(dtype)
        return load_teacher(teacher_spec(self.teacher), unet_dtype=cast)

    def _base(self, context: Context, teacher: LatentDiffusion) -> tuple[Any, Plan]:
        """Returns the U-Net that the student starts from, and the plan that made it from the teacher's."""
        if self.student == TEACHER:
            return teacher.unet, Plan(())
        folder = context.inputs[self.student].folder
        return load_student(folder).unet, Plan.load(folder / "plan.json")

    def _student(self, base: Any, teacher: LatentDiffusion, lora: Lora | None, objective: Any) -> Any:
        wanted, present = getattr(objective, "guidance_embedding_dim", None), base.config.time_cond_proj_dim
        if present is not None and present != wanted:
            raise ValueError(
                f"guidance_embedding_dim must be {present}, which {self.student!r} has already, not {wanted}."
            )
        if lora is None:
            return build_student(base, Plan(()), wanted)
        shared = base is teacher.unet and not lora.is_own_teacher
        return lora.add_to(build_student(base, Plan(())) if shared else base)

    def _data(self, context: Context, teacher: LatentDiffusion) -> tuple[StreamDataModule, OnlineEncoder | None]:
        """Returns the data module, and what encodes its batches where they are not fully cached."""
        reading = {name: getattr(self, name) for name in ("seed", "caption_dropout", "num_workers")}
        reading["batch_size"] = self.shares.micro_batch_size
        if self.encoded is None:
            data = pixel_reader(self.data, self.online, self.loader["cache"], **reading)
            return data, OnlineEncoder(teacher, self.seed)
        encoded = Encoded(context.inputs[self.encoded].outputs["encoded"])
        has_text = encoded.empty_text is not None
        return LatentDataModule(encoded.folder, **reading), None if has_text else OnlineEncoder(teacher, self.seed)

    def _grids(self, context: Context, teacher: LatentDiffusion, objective: Any) -> list[SampleGrids]:
        prompts = list(self.grids["prompts"] or self.data.get("prompts") or [])[: self.grids["columns"]]
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
        with published(result, unet) as trained:
            if self.lora is not None:
                save_adapters(context.folder / "lora", trained)
                merge_adapters(trained)
            save_student(
                context.folder,
                trained,
                plan,
                teacher,
                consistency=self.publish == "lcm",
                original_inference_steps=steps,
            )
        return Result(
            plan_fingerprint=plan.fingerprint,
            samples_seen=result.samples_seen,
            weights=which_weights(result),
            guidance=student_guidance(objective, teacher)._asdict(),
            metrics={"steps": result.steps, **result.metrics},
            base=self._adapted(context) if self.lora is not None else None,
            outputs={"student": str(context.folder / "unet")},
        )

    def _adapted(self, context: Context) -> str:
        """Returns the folder or hub id of the model that the adapters belong to."""
        if self.student == TEACHER:
            return teacher_spec(self.teacher).path_or_id
        return str(context.inputs[self.student].folder)
