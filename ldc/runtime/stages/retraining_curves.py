"""The stage that compares retrainings of one student: held-out perplexity at equal tokens and at equal time."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ldc.evaluation.language.retraining_curves import AXES, at, read_curve, save_retraining_curves
from ldc.runtime.chain import Context, Result
from ldc.runtime.requirements import check_kind

PICTURE, FIGURES = "curves.png", "curves.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrainingCurves:
    """Draws and tabulates `curves` {name: stages}; conf/stages/retraining_curves.yaml says what the setting means."""

    curves: Mapping[str, Sequence[str]]

    kind = "retraining_curves"
    trains = False

    def inputs(self) -> list[str]:
        return [stage for stages in self.curves.values() for stage in stages]

    def identity(self) -> list[str]:
        return []

    def check(self, cfg: DictConfig) -> None:
        if not self.inputs():
            raise ValueError("curves must name at least one stage that retrains, not none.")
        for stage in self.inputs():
            check_kind(cfg, "curves", stage, "language_student")
            if "held_out" not in cfg.stages[stage]:
                raise ValueError(f"curves must name stages that retrain, not {stage!r}, which measures nothing.")

    def run(self, context: Context) -> Result:
        files = {stage: context.inputs[stage].outputs["held_out"] for stage in self.inputs()}
        groups = {stage: name for name, stages in self.curves.items() for stage in stages}
        context.folder.mkdir(parents=True, exist_ok=True)
        save_retraining_curves(files, context.folder / PICTURE, groups)
        read = {stage: read_curve(file) for stage, file in files.items()}
        figures: dict[str, Any] = {}
        for column in AXES:  # as far as the shortest curve reaches
            place = min(rows[-1][column] for rows in read.values())
            figures[column] = place
            for stage, rows in read.items():
                figures[f"{stage}/perplexity_at_equal_{column}"] = math.exp(at(rows, column, place))
        for stage, rows in read.items():
            figures[f"{stage}/perplexity_before"] = rows[0]["perplexity"]
            figures[f"{stage}/lowest_perplexity"] = min(row["perplexity"] for row in rows)
        (context.folder / FIGURES).write_text(json.dumps(figures, indent=2))
        log.info("Retraining curves: %s", context.folder / PICTURE)
        return Result(metrics=figures)
