"""From the finished evaluations of an ablation to figures with intervals, paired differences and verdicts."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ldc.artifacts import Artifact
from ldc.evaluation import compare
from ldc.evaluation.bootstrap import Sampled, difference, interval, resample
from ldc.evaluation.per_image import METRICS, PerImage
from ldc.evaluation.verdicts import expectations, verdict
from ldc.runtime.ablations.jobs import Job, candidates, jobs

log = logging.getLogger(__name__)
FACTS = ("params", "unet_passes", "latency", "guidance")

Measured = dict[str, dict[str, list[Sampled]]]
"""{RUN/SETTING: {metric: one entry a seed}}."""


def results(cfg: DictConfig) -> dict[str, Any]:
    """Returns all that the ablation's document says, as JSON; rows that lack a seed stand under "missing".

    Raises:
        ValueError: two evaluations were not made on the same prompts, images and noise.
    """
    measured, facts, stamps, missing = _measure(cfg)
    rows = {
        name: {**facts[name], **{metric: _json(interval(seeds), seeds) for metric, seeds in by_metric.items()}}
        for name, by_metric in measured.items()
    }
    return {
        "ablation": cfg.ablation.name,
        "seeds": list(cfg.seeds),
        "num_images": cfg.num_images,
        "replicates": cfg.replicates,
        "stamps": stamps,
        "rows": rows,
        "tables": [_table(table, measured) for table in cfg.ablation.tables],
        "missing": missing,
        "commands": {job.name: job.command for job in jobs(cfg) if job.seed == cfg.seeds[0]},
    }


def _measure(cfg: DictConfig) -> tuple[Measured, dict[str, Any], list[Any], list[str]]:
    counts = resample(cfg.num_images, cfg.replicates)
    by_run: dict[str, list[Job]] = defaultdict(list)
    for job in jobs(cfg):
        by_run[job.name].append(job)
    measured: Measured = {}
    facts: dict[str, Any] = {}
    stamps: dict[int, Any] = {}
    missing = []
    for name, seeds in by_run.items():
        found = [(job, job.evaluation()) for job in seeds]
        if any(artifact is None for _, artifact in found):
            missing.append(name)
            continue
        for job, artifact in found:
            images = PerImage.load(job.folder)
            compare(stamps.setdefault(job.seed, images.stamp), images.stamp)
            for setting, sampled in _sampled(images, counts):
                row = f"{name}/{setting}"
                for metric, value in sampled.items():
                    measured.setdefault(row, {}).setdefault(metric, []).append(value)
                facts.setdefault(row, _facts(job, artifact, setting))
    if missing:
        log.warning("Not finished by all seeds, and left out of the tables: %s.", ", ".join(missing))
    return measured, facts, [stamps[seed] for seed in cfg.seeds if seed in stamps], missing


def _sampled(images: PerImage, counts: Tensor) -> Iterator[tuple[str, dict[str, Sampled]]]:
    for setting in images.features:
        yield setting, {metric: images.sampled(setting, metric, counts) for metric in METRICS}


def _facts(job: Job, artifact: Artifact | None, setting: str) -> dict[str, Any]:
    table = artifact.metrics["table"] if artifact is not None else []
    (row,) = (row for row in table if row["model"] == setting)
    fits = {stage.name: stage.config for stage in job.stages if "max_steps" in stage.config}
    trained = {name: fit["max_steps"] * fit["batch_size"] for name, fit in fits.items()}
    return {"steps": job.measure[setting]["steps"], **{key: row[key] for key in FACTS}, "samples": trained}


def _table(table: DictConfig, measured: Measured) -> dict[str, Any]:
    return {"title": table.title, "source": table.get("source"), "rows": [_row(row, measured) for row in table.rows]}


def _row(row: DictConfig, measured: Measured) -> dict[str, Any]:
    name, against = _best(row.row, measured), _best(row.get("against"), measured)
    expected = expectations(row.get("expect"))
    entry: dict[str, Any] = {"label": row.label, "row": name, "against": against, "expect": expected}
    entry["best_of"] = candidates(row.row)
    if name is None or row.get("against") is None:
        return entry
    entry["difference"], entry["verdict"] = {}, {}
    if against is not None:
        for metric in METRICS:
            seeds = difference(measured[name][metric], measured[against][metric])
            found = interval(seeds)
            entry["difference"][metric] = _json(found, seeds)
            entry["verdict"][metric] = verdict(found, metric, expected[metric])
    return entry


def _best(names: Any, measured: Measured) -> str | None:
    """Returns the row with the lowest mean KID; None where one of them is not measured, as the choice is open then."""
    listed = candidates(names)
    if not listed or any(name not in measured for name in listed):
        return None
    return min(listed, key=lambda name: _mean(measured[name]["kid"]))


def _mean(seeds: Sequence[Sampled]) -> float:
    return sum(seed.value for seed in seeds) / len(seeds)


def _json(estimate: Any, seeds: Sequence[Sampled]) -> dict[str, Any]:
    return {**estimate._asdict(), "seeds": [seed.value for seed in seeds]}
