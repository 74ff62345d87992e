"""From an ablation's config to its jobs: one `ldc.train` command a run and seed."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ldc.artifacts import Artifact, find
from ldc.evaluation.verdicts import expectations
from ldc.runtime.chain import Stage, identities, unchecked
from ldc.runtime.checks import listed
from ldc.runtime.composing import train_config
from ldc.runtime.run import Run, prepare

EVALUATE = "evaluate"


@dataclass(frozen=True)
class Job:
    """One run of an ablation by one seed; `measure` names what its evaluation draws."""

    name: str
    seed: int
    overrides: tuple[str, ...]
    measure: Mapping[str, Mapping[str, Any]]

    @property
    def command(self) -> str:
        """What a shell takes to do the same."""
        return f"python -m ldc.train {shlex.join(self.overrides)}"

    @cached_property
    def cfg(self) -> DictConfig:
        """The composed config of `ldc.train`, unresolved.

        Raises:
            ValueError: a setting is none of what it is meant for.
        """
        return train_config(self.overrides)

    @cached_property
    def run(self) -> Run:
        return prepare(self.cfg)

    @cached_property
    def stages(self) -> list[Stage]:
        """The stages that the run is made of, their inputs not checked yet."""
        return unchecked(self.run.cfg)

    @cached_property
    def ids(self) -> dict[str, str]:
        """The id of each stage's artifact, made or not."""
        return identities(self.stages)

    def evaluation(self) -> Artifact | None:
        """Returns the finished evaluation of exactly this config, or None."""
        artifact = find(self.folder)
        return artifact if artifact is not None and artifact.id == self.ids[EVALUATE] else None

    @property
    def folder(self) -> Path:
        """The folder of the evaluation."""
        return self.run.folder / EVALUATE


def jobs(cfg: DictConfig) -> list[Job]:
    """Returns all jobs of the ablation, run by run and in each seed by seed."""
    return [_job(cfg, name, run, seed) for name, run in cfg.ablation.runs.items() for seed in cfg.seeds]


def _job(cfg: DictConfig, name: str, run: DictConfig, seed: int) -> Job:
    measure: Any = OmegaConf.to_container(run.measure, resolve=True)
    overrides = [
        f"+experiment={run.get('experiment') or cfg.ablation.experiment}",
        *cfg.ablation.common,
        *run.overrides,
        "~stages.evaluate.settings",
        f"+stages.evaluate.settings={_inline(measure)}",
        f"stages.evaluate.picture=[{next(iter(measure))}]",
        f"stages.evaluate.num_images={cfg.num_images}",
        f"stages.evaluate.seed={seed}",
        "stages.evaluate.keep_features=true",
        f"seed={seed}",
        *shlex.split(cfg.overrides),
        f"paths.outputs={cfg.paths.outputs}",
        *([] if cfg.paths.cache is None else [f"paths.cache={cfg.paths.cache}"]),
        f"run={cfg.ablation.name}-{name}-seed{seed}",
        "reuse=true",
    ]
    return Job(name, seed, tuple(overrides), measure)


def _inline(value: Any) -> str:
    """Returns a mapping as Hydra reads it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inline(entry)}" for key, entry in value.items()) + "}"
    return "null" if value is None else str(value)


def chosen_jobs(cfg: DictConfig) -> list[Job]:
    """Returns the jobs of `rows`, all where it is null.

    Raises:
        ValueError: a row is none of the ablation's runs.
    """
    names = list(cfg.ablation.runs)
    rows = names if cfg.rows is None else listed(cfg, "rows")
    for name in rows:
        if name not in names:
            raise ValueError(f"rows must be among {', '.join(names)}, not {name!r}.")
    return [job for job in jobs(cfg) if job.name in rows]


def check_ablation(cfg: DictConfig) -> None:
    """Checks the seeds, and that tables and curves name what is measured.

    Raises:
        ValueError: they do not.
    """
    seeds = cfg.seeds if isinstance(cfg.seeds, ListConfig) else ()
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError(f"seeds must be a list of whole numbers from 0, at least one, not {cfg.seeds}.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different, not {seeds}.")
    measured = {f"{name}/{setting}" for name, run in cfg.ablation.runs.items() for setting in run.measure}
    for place, name in _named(cfg.ablation):
        if name not in measured:
            raise ValueError(f"{place} must name RUN/SETTING of this ablation, not {name!r}.")
    for table in cfg.ablation.tables:
        for row in table.rows:
            expectations(row.get("expect"))


def candidates(names: Any) -> list[str]:
    """Returns the rows that a table's `row` or `against` names."""
    return [names] if isinstance(names, str) else list(names or ())


def _named(ablation: DictConfig) -> Iterator[tuple[str, str]]:
    for table in ablation.tables:
        for row in table.rows:
            for key in ("row", "against"):
                yield from ((f"{key} of {row.label!r}", name) for name in candidates(row.get(key)))
    for curve, names in (ablation.get("curves") or {}).items():
        yield from ((f"curve {curve!r}", name) for name in names)
