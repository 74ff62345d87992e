"""The stage that retrains a language model: a student and texts in, a published student folder out."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.models.adapters import merge_adapters, save_language_adapters
from ldc.models.language import (
    LANGUAGE_KIND,
    LanguageModel,
    build_language_student,
    check_language_teacher,
    load_language_student,
    load_language_teacher,
    meta_language_model,
    save_language_student,
)
from ldc.objectives import CausalScores
from ldc.objectives.logit_distillation import check_vocabulary
from ldc.objectives.lora import LANGUAGE_TARGETS, AdaptersOff, check_targets
from ldc.runtime.chain import Context, Result
from ldc.runtime.checks import check_whole
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.lora import Lora
from ldc.runtime.paths import cache_folder
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.requirements import check_kind
from ldc.runtime.stage_settings import StageSettingError, stage_settings
from ldc.runtime.teachers import language_spec, teacher_identity
from ldc.runtime.training_texts import check_training_texts, held_out_batches, training_texts
from ldc.surgery import Plan
from ldc.training import BestWeights, FitResult, HeldOut
from ldc.training.module import check_needs
from ldc.training.networks import floating_dtype

TEACHER = "teacher"
KEEP = ("best", "last")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitLanguage(Fitting):
    """Trains `student` by `objective`; conf/stages/fit_language.yaml says what each setting means."""

    student: str
    teacher: Any
    encoded: str | None
    instructions: DictConfig | None
    length: int
    objective: DictConfig
    lora: Mapping[str, Any] | None
    keep: str
    dtype: str
    held_out: Mapping[str, Any] = field(default_factory=dict)

    kind = LANGUAGE_KIND
    trains = True

    def inputs(self) -> list[str]:
        return [name for name in (self.encoded, self.student) if name is not None and name != TEACHER]

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        for check in self.checks(cfg):
            check()

    def checks(self, cfg: DictConfig) -> list[Callable[[], Any]]:
        """Returns the parts of `check`, each of which can be called on its own."""
        return [
            partial(check_language_teacher, language_spec(self.teacher)),
            partial(self.check_settings, cfg),
            partial(self._check_names, cfg),
            self._check_networks,
            partial(check_training_texts, cfg, self),
        ]

    def _check_names(self, cfg: DictConfig) -> None:
        if self.keep not in KEEP:
            raise StageSettingError(f"keep must be {' or '.join(KEEP)}, not {self.keep!r}.")
        if self.keep == "best" and self.averaging is not None:
            raise StageSettingError(
                f"averaging must be null with keep=best, which publishes one step, not {self.averaging}."
            )
        with stage_settings("held_out"):
            check_whole(self.held_out, "every", "windows")
            check_whole(self.held_out, "batch_size", optional=True)
        if self.student != TEACHER:
            check_kind(cfg, "student", self.student, self.kind)
        for name in filter(None, (self.dtype, self.trainer["teacher_dtype"])):
            floating_dtype(name)

    def _check_networks(self) -> None:
        meta, lora = meta_language_model(language_spec(self.teacher)), self._lora()
        context = getattr(meta.config, "max_position_embeddings", None)
        if context is not None and self.length > context:
            raise StageSettingError(
                f"length must be at most the model's context of {context} tokens, not {self.length}."
            )
        if lora is not None:
            check_targets(meta, lora.targets or LANGUAGE_TARGETS)
        check_needs(instantiate(self.objective), meta, None)

    def _lora(self) -> Lora | None:
        """Returns the settings of adapters; a pruned model's parent is another, unless they say otherwise."""
        return None if self.lora is None else Lora.from_config({"teacher": "other", **self.lora})

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial values of adapters; what concerns samples has draws of its own
        start, plan, parent_config = self._start(context)
        data = training_texts(self, context, start.tokenizer)
        model, lora = start.model.requires_grad_(requires_grad=True), self._lora()
        if lora is not None:
            lora.add_to(model, LANGUAGE_TARGETS)
        student, objective = CausalScores(model), instantiate(self.objective, seed=self.seed)
        teacher = self._teacher(student, objective, lora)
        best = BestWeights() if self.keep == "best" else None
        held_out = HeldOut(held_out_batches(self, data), context.folder, self.held_out["every"], best)
        module = self.module(objective, student, teacher)
        result = self.fit(context, module, data, callbacks=[held_out], best=best)
        if not is_rank_zero():
            return Result()  # rank zero publishes
        with published(result, student.cpu()) as trained:
            self._save(context, trained.model, plan, start.tokenizer, parent_config)
        return self._result(context, result, plan, held_out)

    def _start(self, context: Context) -> tuple[LanguageModel, Plan, Any]:
        """Returns the model that training starts from, the plan that made it, and the config of its parent."""
        if self.student == TEACHER:
            teacher = self._load_teacher()
            student = build_language_student(teacher.model, Plan(()))
            return teacher._replace(model=student), Plan(()), teacher.model.config
        folder = context.inputs[self.student].folder
        parent_config = json.loads((folder / "config.json").read_text())  # its own, where it has a stock config
        return load_language_student(folder, torch.float32), Plan.load(folder / "plan.json"), parent_config

    def _load_teacher(self) -> LanguageModel:
        return load_language_teacher(language_spec(self.teacher), cache_folder(self.loader["cache"]))

    def _teacher(self, student: CausalScores, objective: Any, lora: Lora | None) -> Any:
        """Returns what the objective distils from, None where it needs nothing."""
        if TEACHER not in objective.needs:
            return None
        if lora is not None and lora.is_own_teacher:
            return AdaptersOff(student)
        teacher = self._load_teacher().model
        check_vocabulary(student.model, teacher)
        return CausalScores(teacher)

    def _save(self, context: Context, model: Any, plan: Plan, tokenizer: Any, parent_config: Any) -> None:
        if self.lora is not None:
            save_language_adapters(context.folder / "lora", model, self._adapted(context))
            merge_adapters(model)
        model.to(floating_dtype(self.dtype)).eval()
        save_language_student(context.folder, model, plan, tokenizer, parent_config)

    def _adapted(self, context: Context) -> str:
        """Returns the folder or hub id of the model that the adapters belong to."""
        if self.student == TEACHER:
            return language_spec(self.teacher).path_or_id
        return str(context.inputs[self.student].folder)

    def _result(self, context: Context, result: FitResult, plan: Plan, held_out: HeldOut) -> Result:
        step, tokens, seconds, loss, perplexity = held_out.rows[-1]
        if isinstance(result.average, BestWeights):
            step = result.average.step
            loss, perplexity = next(row[3:] for row in held_out.rows if row[0] == step)
        log.info("Published: step %d, held-out loss %.4f, perplexity %.2f.", step, loss, perplexity)
        return Result(
            plan_fingerprint=plan.fingerprint,
            samples_seen=result.samples_seen,
            weights=which_weights(result),
            metrics={
                "steps": result.steps,
                **result.metrics,
                "held_out/loss": loss,
                "held_out/perplexity": perplexity,
                "held_out/step": step,
                "tokens": tokens,
                "seconds_of_steps": seconds,
            },
            base=self._adapted(context) if self.lora is not None else None,
            outputs={"student": str(context.folder), "held_out": str(held_out.path)},
        )
