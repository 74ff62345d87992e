"""The stage that prunes language models: a teacher and calibration texts in, a smaller student out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from ldc.models.language import (
    build_language_student,
    check_language_teacher,
    load_language_teacher,
    load_language_tokenizer,
    meta_language_model,
    save_language_student,
)
from ldc.pruning.depth import BlockScores
from ldc.runtime.calibrating import calibration_set, check_calibration_set
from ldc.runtime.chain import Context, Result
from ldc.runtime.devices import device_of
from ldc.runtime.language_origin import made_of
from ldc.runtime.language_pruning import (
    FACTS,
    build_pruner,
    check_language_pruner,
    needs_calibration,
    prune,
    say_dequantised,
)
from ldc.runtime.paths import cache_folder
from ldc.runtime.requirements import check_kind
from ldc.runtime.stage_settings import StageSettingError
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

    @staticmethod
    def check_kinds(config: DictConfig) -> None:
        """Raises ValueError for a pruner of U-Nets, before its settings are looked at."""
        check_language_pruner(config.pruner)

    def check(self, cfg: DictConfig) -> None:
        if self.initialise not in {TEACHER, RANDOM}:
            raise StageSettingError(f"initialise must be {TEACHER} or {RANDOM}, not {self.initialise!r}.")
        spec = language_spec(self.teacher)
        check_language_teacher(spec)
        pruner = build_pruner(self.pruner, self.scores)
        if self.scores is not None:
            self._check_scores(cfg, pruner.criterion.name)
        if needs_calibration(pruner, self.scores):
            check_calibration_set(self.data, self.calibration)
        pruner.check(meta_language_model(spec))  # a budget that the model does not allow is refused here

    def _check_scores(self, cfg: DictConfig, criterion: str) -> None:
        check_kind(cfg, "scores", str(self.scores), "block_scores")
        made = cfg.stages[self.scores].criteria
        if criterion not in made:
            raise StageSettingError(
                f"scores must name a stage that scores by {criterion}, not {self.scores!r}, which scores by "
                f"{', '.join(made)}."
            )

    def run(self, context: Context) -> Result:
        spec, pruner = language_spec(self.teacher), build_pruner(self.pruner, self.scores)
        cache, calibration = self.loader["cache"], None
        if needs_calibration(pruner, self.scores):  # texts that do not do are refused before the weights are read
            tokenizer = load_language_tokenizer(spec, cache_folder(cache))
            calibration = calibration_set(self.data, tokenizer, self.calibration, cache)
        made = made_of(spec) | say_dequantised(spec)
        if self.initialise == RANDOM:  # no weight of the parent's is left
            made["parent_quantised"] = None
        teacher = load_language_teacher(spec, cache_folder(cache))
        scores, start = self._scores(context, pruner), time.monotonic()
        pruned = prune(pruner, teacher.model.to(device_of(self.loader["device"])), calibration, scores)
        facts = {**made, **pruned.facts, "planning_seconds": round(time.monotonic() - start, 1)}
        student = pruned.student
        if self.initialise == RANDOM:
            parent = load_language_teacher(replace(spec, weights="random", seed=self.seed)).model
            student = build_language_student(parent, pruned.plan)
        config = teacher.model.config
        save_language_student(context.folder, student, pruned.plan, teacher.tokenizer, config, {FACTS: facts})
        return Result(
            plan_fingerprint=pruned.plan.fingerprint,
            weights="pruned" if self.initialise == TEACHER else "random",
            metrics={**facts, "blocks": pruned.rows},
            outputs={"student": str(context.folder)},
        )

    def _scores(self, context: Context, pruner: Any) -> BlockScores | None:
        if self.scores is None:
            return None
        return BlockScores.load(context.inputs[self.scores].folder, pruner.criterion.name)
