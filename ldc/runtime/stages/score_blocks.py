"""The stage that scores the blocks of a language model: for many pruners at once, and for a look at its depth."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig

from ldc.evaluation.language.depth_plot import save_depth_plot
from ldc.families.llama import blocks
from ldc.models.language import (
    check_language_teacher,
    load_language_teacher,
    load_language_tokenizer,
    meta_language_model,
)
from ldc.pruning.depth import BlockScores, Criterion, build_criterion, save_scores, score_blocks
from ldc.pruning.depth.selection import candidates
from ldc.runtime.calibrating import calibration_set, check_calibration_set
from ldc.runtime.chain import Context, Result
from ldc.runtime.devices import device_of
from ldc.runtime.paths import cache_folder
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.teachers import language_spec, teacher_identity

PLOT = "scores.png"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreBlocks:
    """Scores by `criteria` {name: settings}; conf/stages/score_blocks.yaml says what each setting means."""

    teacher: Any
    data: DictConfig
    criteria: Mapping[str, Mapping[str, Any]]
    calibration: Mapping[str, Any]
    protect: Mapping[str, int]
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "block_scores"
    trains = True  # every rank scores a share of the blocks

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        spec = language_spec(self.teacher)
        check_language_teacher(spec)
        if not self.criteria:
            raise ValueError("criteria must be at least one, not none.")
        if any(criterion.needs_data for criterion in self._built()):
            if spec.weights == "random":
                raise ValueError("criteria must be magnitude alone for a random teacher, which has no tokenizer.")
            check_calibration_set(self.data, self.calibration)
        if set(self.protect) != {"first", "last"}:
            raise ValueError(f"protect must have first and last, not {', '.join(self.protect)}.")
        number = len(blocks(meta_language_model(spec)))
        candidates(range(number), number, self.protect["first"], self.protect["last"])

    def run(self, context: Context) -> Result:
        from ldc.training.process_group import joined  # noqa: PLC0415 - a wrong key is answered before libraries load

        with joined(f"{context.folder.parent.name}-{context.name}") as ranks:
            if ranks == 1 and not is_rank_zero():
                return Result()  # what started these processes is not known: rank zero works alone
            if is_rank_zero():
                log.info("Scoring blocks by %s on %d rank(s).", ", ".join(self.criteria), ranks)
            found, seconds = self._scored()
        if is_rank_zero():
            self._write(context, found)
        calibrations = {scores.calibration for scores in found if scores.calibration}
        return Result(
            metrics={
                "calibration": next(iter(calibrations), None),
                "num_blocks": len(found[0].scores),
                "ranks": ranks,
                "orders": {scores.criterion: list(scores.order()) for scores in found},
                **{f"{scores.criterion}/base": scores.base for scores in found if scores.base is not None},
                **{f"{name}/seconds": value for name, value in seconds.items()},
            }
        )

    def _built(self) -> list[Criterion]:
        return [build_criterion(name, settings) for name, settings in self.criteria.items()]

    def _scored(self) -> tuple[list[BlockScores], dict[str, float]]:
        spec, cache, built, drawn = language_spec(self.teacher), self.loader["cache"], self._built(), None
        if any(criterion.needs_data for criterion in built):  # texts that do not do are refused before weights are read
            tokenizer = load_language_tokenizer(spec, cache_folder(cache))
            drawn = calibration_set(self.data, tokenizer, self.calibration, cache)
        teacher = load_language_teacher(spec, cache_folder(cache))
        model, found, seconds = teacher.model.to(_own(device_of(self.loader["device"]))), [], {}
        for criterion in built:
            start = time.monotonic()
            found.append(score_blocks(model, drawn, criterion, over_ranks=True, progress=is_rank_zero()))
            seconds[criterion.name] = round(time.monotonic() - start, 1)
        return found, seconds

    def _write(self, context: Context, found: list[BlockScores]) -> None:
        for scores in found:
            log.info("%s: least important first: %s.", scores.criterion, ", ".join(map(str, scores.order())))
        save_scores(context.folder, found)
        save_depth_plot(
            {scores.criterion: scores.scores for scores in found},
            context.folder / PLOT,
            protect_first=self.protect["first"],
            protect_last=self.protect["last"],
            bases={scores.criterion: scores.base for scores in found if scores.base is not None},
            title=f"{context.cfg.name}: scores of blocks",
        )
        log.info("Scores: %s; plot: %s", context.folder, context.folder / PLOT)


def _own(device: torch.device) -> torch.device:
    """Returns this rank's GPU of a node's."""
    if device.type != "cuda":
        return device
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device("cuda", local % torch.cuda.device_count())
