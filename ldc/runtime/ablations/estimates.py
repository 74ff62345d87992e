"""What an ablation still has to do, and how long that takes at the pace of what is finished."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ldc.artifacts import find
from ldc.runtime.ablations.jobs import Job
from ldc.runtime.chain import Stage
from ldc.runtime.finished import finished_elsewhere

Pace = tuple[str, Any, Any, Any]


def estimate(jobs: Sequence[Job]) -> dict[str, Any]:
    """Returns {"stages", "optimizer_steps", "images", "hours", "without_pace"} of what is left, a stage counted once.

    Pace is taken from finished stages of the same kind, objective and batch; `without_pace` counts the stages for which
    there is none yet, and which `hours` leaves out.
    """
    open_stages: dict[str, Stage] = {}
    paces: dict[Pace, list[float]] = defaultdict(list)
    for job in jobs:
        for stage in job.stages:
            artifact = find(job.run.folder / stage.name)
            made = artifact if artifact is not None and artifact.id == job.ids[stage.name] else None
            outputs = Path(job.run.cfg.paths.outputs)
            made = made or finished_elsewhere(outputs, stage.kind.kind, job.ids[stage.name])
            if made is None:
                open_stages.setdefault(job.ids[stage.name], stage)
            elif "seconds" in made.metrics:
                paces[_like(stage)].append(made.metrics["seconds"] / _work(stage))
    seconds = [_seconds(stage, paces) for stage in open_stages.values()]
    return {
        "stages": len(open_stages),
        "optimizer_steps": sum(stage.config.get("max_steps", 0) for stage in open_stages.values()),
        "images": sum(_images(stage) for stage in open_stages.values()),
        "hours": round(sum(filter(None, seconds)) / 3600, 2),
        "without_pace": sum(value is None for value in seconds),
    }


def _seconds(stage: Stage, paces: dict[Pace, list[float]]) -> float | None:
    known = paces.get(_like(stage))
    return None if not known else sum(known) / len(known) * _work(stage)


def _like(stage: Stage) -> Pace:
    config = stage.config
    objective = config.get("objective", {}).get("_target_")
    return stage.kind.kind, objective, config.get("batch_size"), bool(config.get("lora"))


def _work(stage: Stage) -> float:
    """Returns the amount to which a stage's time is about proportional."""
    if "max_steps" in stage.config:
        return stage.config.max_steps
    if "settings" in stage.config:
        return sum(setting["steps"] for setting in stage.config.settings.values()) * stage.config.num_images
    return 1


def _images(stage: Stage) -> int:
    return len(stage.config.settings) * stage.config.num_images if "settings" in stage.config else 0
