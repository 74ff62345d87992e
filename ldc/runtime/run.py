"""A run: the folder of one experiment with one config, what its stages have made, and its summary."""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ldc.artifacts import Artifact, find
from ldc.runtime.card import FILE as CARD
from ldc.runtime.card import write_card
from ldc.runtime.fingerprint import run_name
from ldc.runtime.language_card import KIND as LANGUAGE
from ldc.runtime.language_card import write_language_card
from ldc.runtime.life import wait_for_sign
from ldc.runtime.occupancy import refuse_occupied
from ldc.runtime.paths import CONF
from ldc.runtime.ranks import is_rank_zero, is_restart
from ldc.runtime.versions import versions

log = logging.getLogger(__name__)
EVALUATION = "language_evaluation"
_IN_SUMMARY = ("kind", "id", "parents", "samples_seen")


@dataclass
class Run:
    """One run folder: `outputs/<experiment>/<run>/` with `config.yaml`, a folder a stage, and `summary.json`."""

    cfg: DictConfig
    folder: Path
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    def open(self) -> None:
        """Makes the folder, with config and versions; `fresh=true` removes it first, or the folder of `stage=NAME`.

        Raises:
            ValueError: another process works on what is to be removed.
        """
        if not is_rank_zero():
            if self.cfg.fresh:
                wait_for_sign(self.folder)  # else what is to be removed would count as finished
            return
        stale = self.folder / (self.cfg.stage or "")
        if self.cfg.fresh and stale.exists():
            refuse_occupied(self.folder, self.cfg.stage)
            log.info("fresh=true: removing %s", stale)
            shutil.rmtree(stale)
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.cfg, self.folder / "config.yaml")
        (self.folder / "versions.json").write_text(json.dumps(versions(), indent=2))

    def record(self, stage: str, artifact: Artifact) -> None:
        """Keeps a finished stage's artifact for the stages that name it."""
        self.artifacts[stage] = artifact
        if not is_rank_zero():
            return
        has_card = (artifact.folder / CARD).exists()
        if artifact.kind == "student" and not has_card:
            prompts = self.cfg.data.get("prompts") or ["a photograph of an astronaut riding a horse"]
            write_card(artifact, f"{self.cfg.name}: {stage}", prompts[0])
        if artifact.kind == LANGUAGE and not has_card:
            self._write_language_card(stage)
        if artifact.kind == EVALUATION:  # of students whose cards have been written without its figures
            for name in [name for name, made in self.artifacts.items() if made.kind == LANGUAGE]:
                self._write_language_card(name)

    def _write_language_card(self, stage: str) -> None:
        write_language_card(self.artifacts[stage], f"{self.cfg.name}: {stage}", list(self.artifacts.values()))

    def summarise(self) -> dict[str, Any]:
        """Writes `summary.json` and returns it: the run's folder, its stages, the table of the evaluation, if any."""
        stages = [
            {"name": name, "folder": str(a.folder), **{key: getattr(a, key) for key in _IN_SUMMARY}}
            for name, a in self.artifacts.items()
        ]
        tables = [a.metrics["table"] for a in self.artifacts.values() if "table" in a.metrics]
        summary: dict[str, Any] = {"run": str(self.folder), "stages": stages, "table": tables[-1] if tables else []}
        metric = self.cfg.get("metric")
        if metric and (self.cfg.stage is None or metric.partition(".")[0] in self.artifacts):
            summary["metric"] = self._metric(metric)
        if is_rank_zero():
            (self.folder / "summary.json").write_text(json.dumps(summary, indent=2, default=str))
            self._track()
        return summary

    def _track(self) -> None:
        """Gives W&B the stages' figures as `<stage>/<metric>`: `metric=STAGE.METRIC` is a sweep file's STAGE/METRIC."""
        if "wandb" not in self.cfg.logger.names:
            return
        from ldc.training.loggers import finish_wandb  # noqa: PLC0415 - a wrong key is answered before libraries load

        figures = {
            f"{stage}/{name}": float(value)
            for stage, artifact in self.artifacts.items()
            for name, value in artifact.metrics.items()
            if type(value) in {int, float}
        }
        finish_wandb(self.folder, f"{self.cfg.name}-{self.folder.name}", self.cfg.logger.project, figures)

    def _metric(self, dotted: str) -> float:
        stage, _, name = dotted.partition(".")
        metrics = self.artifacts[stage].metrics if stage in self.artifacts else {}
        if name not in metrics:
            raise ValueError(f"metric must name STAGE.METRIC of this run, not {dotted!r}.")
        return float(metrics[name])


def prepare(cfg: DictConfig) -> Run:
    """Returns the run of this config; nothing is written before `begin`, so a wrong input leaves no trace.

    Raises:
        ValueError: no experiment is named.
    """
    if not cfg.get("stages"):
        names = ", ".join(sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
        raise ValueError(f"experiment must be given, as +experiment=NAME with one of {names}.")
    if cfg.get("metric"):
        _check_metric(cfg)
    if cfg.get("fresh") and is_restart():
        log.warning("fresh=true counts for a job's first start: started again, it goes on.")
        cfg.fresh = False
    OmegaConf.resolve(cfg)  # stages are taken out of the config, where an interpolation would lose its way
    folder = Path(cfg.paths.outputs) / cfg.name / str(cfg.run or run_name(cfg))
    log.info("Run folder: %s", folder)
    return Run(cfg, folder)


def _check_metric(cfg: DictConfig) -> None:
    """Refuses what is known to be no STAGE.METRIC before a sweep's trial trains for it."""
    stage, _, name = cfg.metric.partition(".")
    if stage not in cfg.stages:
        raise ValueError(f"metric must be STAGE.METRIC with one of {', '.join(cfg.stages)}, not {cfg.metric!r}.")
    labels = cfg.stages[stage].get("settings")
    if labels is not None and name.rpartition("/")[0] not in labels:
        raise ValueError(f"metric must be {stage}.SETTING/FIGURE with one of {list(labels)}, not {cfg.metric!r}.")


def describe(run: Run, stages: list[Any]) -> dict[str, Any]:
    """Returns what a dry run says: the folder, the stages in order, and which are finished."""
    names = [
        {"name": stage.name, "kind": stage.kind.kind, "finished": find(run.folder / stage.name) is not None}
        for stage in stages
    ]
    return {"run": str(run.folder), "dry_run": True, "stages": names, "table": []}
