"""From a launch's config to its jobs: one, one a stage, each of them an array where values are given."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.artifacts import find
from ldc.runtime.batching import planning
from ldc.runtime.chain import Stage, chain, identities, unchecked
from ldc.runtime.composing import train_config
from ldc.runtime.launching.cluster import Cluster
from ldc.runtime.launching.variants import label, value_of, variants
from ldc.runtime.launching.words import Words, train_words
from ldc.runtime.paths import CONF
from ldc.runtime.run import Run, prepare
from ldc.runtime.suggestions import nearest

log = logging.getLogger(__name__)
_STAGES = re.compile(r"/stages@stages\.(\w+):")
FOLDER = "slurm"  # in the run's folder, or in that of an array: scripts, and what the jobs say


@dataclass(frozen=True)
class Task:
    """One run of `ldc.train`: the words that set it apart, and its checked stages."""

    words: tuple[str, ...]
    run: Run
    stages: tuple[Stage, ...]
    finished: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Job:
    """One script: a task, or an array of several that are started alike."""

    name: str
    cluster: Cluster
    words: Words
    stage: str | None  # the one that it makes; None: what the words say
    tasks: tuple[Task, ...]
    is_array: bool
    folder: Path
    after: str | None = None  # the name of the job whose success it waits for

    @property
    def slurm_name(self) -> str:
        """What SLURM calls it: jobs that write into one run's folder have one name, by which they wait for each other.

        The stages of an array have names of their own, since each run's stage waits for that run's alone.
        """
        return self.name if self.is_array or self.stage is None else self.name.removesuffix(f"-{self.stage}")


def jobs(cfg: DictConfig, arguments: Sequence[str]) -> list[Job]:
    """Returns the launch's jobs, those that wait after those they wait for.

    Args:
        cfg: conf/launch.yaml, composed of `arguments`.
        arguments: the command line; what is not the launch's own goes on to `ldc.train`.

    Raises:
        ValueError: a setting is wrong, for the cluster or for `ldc.train`.
    """
    words = train_words(arguments)
    base = prepare(train_config([*words.settings, f"run={value_of('run', cfg.run)}"])).folder  # needs an experiment
    cluster = instantiate(cfg.cluster, _convert_="all")
    _check(cfg, cluster)
    with planning():  # the processes that run here, as in srun --pty, are not the jobs'
        tasks = _tasks(cfg, words, cluster, base)
        first, folder = tasks[0].run, cluster.folder / base / FOLDER
        whole = Job(f"{first.cfg.name}-{base.name}", cluster, words, None, tasks, base != first.folder, folder)
        _check_stages(cluster, first.cfg.stages)
        found = list(_chained(cfg, whole)) if cfg.chain else [whole]
    if not found:
        log.info("Every stage is finished: there is no job to submit.")
    return found


def _check(cfg: DictConfig, cluster: Cluster) -> None:
    if cfg.fresh:
        raise ValueError(
            "fresh must be false in a job, which goes on when it is requeued, not true: choose another run."
        )
    if cfg.chain and cfg.stage is not None:
        raise ValueError(f"stage must be null with chain=true, which makes a job of each, not {cfg.stage!r}.")
    has_gpu, is_cpu = cluster.gpus_per_node > 0, cfg.trainer.accelerator == "cpu"
    if has_gpu == is_cpu:
        wanted = "gpu, since the cluster gives GPUs" if has_gpu else "cpu, since the cluster gives no GPUs"
        raise ValueError(f"trainer.accelerator must be {wanted}, not {cfg.trainer.accelerator!r}: choose trainer=NAME.")


def _check_stages(cluster: Cluster, stages: Iterable[str]) -> None:
    """Refuses stages that no experiment has; those of other experiments may stand in a cluster's file."""
    texts = [path.read_text(encoding="utf-8") for path in (CONF / "experiment").glob("*.yaml")]
    known = {*stages, *(name for text in texts for name in _STAGES.findall(text))}
    for name in cluster.stages:
        if name not in known:
            raise ValueError(
                f"cluster.stages must name stages, as {', '.join(stages)}, not {name!r}{nearest(name, known)}."
            )


def _check_name(run: str) -> None:
    if "/" in run:
        raise ValueError(f"run must be a name without / in a launch, which makes files of it, not {run!r}.")


def _tasks(cfg: DictConfig, words: Words, cluster: Cluster, base: Path) -> tuple[Task, ...]:
    """Returns the one run, in the folder `base`, or those of its array, beside it."""
    _check_name(str(cfg.run))
    chosen = list(variants(cfg.array))
    if not chosen:
        return (_task(cfg, words, cluster, (f"run={value_of('run', base.name)}",)),)
    tasks = []
    for variant in chosen:
        own = tuple(f"{key}={value}" for key, value in variant.items() if key != "run")
        _check_name(variant.get("run", ""))
        run = variant.get("run") or value_of("run", f"{base.name}-{label(variant)}")
        tasks.append(_task(cfg, words, cluster, (*own, f"run={run}")))
    names = [task.run.folder.name for task in tasks]
    if len({*names, base.name}) <= len(names):
        raise ValueError(f"array must give every run a name of its own, not {', '.join(names)}: add array.run=[...].")
    return tuple(tasks)


def _task(cfg: DictConfig, words: Words, cluster: Cluster, own: tuple[str, ...]) -> Task:
    run = prepare(train_config([*words.settings, *own, *cluster.words, "dry_run=true"]))
    if not cfg.check:
        return Task(own, run, tuple(unchecked(run.cfg)))
    stages = tuple(chain(run.cfg))
    ids, folder = identities(stages), cluster.folder / run.folder
    for stage in stages:
        stage.refuse_other_config(folder / stage.name, ids[stage.name])
    finished = frozenset(stage.name for stage in stages if find(folder / stage.name) is not None)
    return Task(own, run, stages, finished)


def _chained(cfg: DictConfig, whole: Job) -> Iterator[Job]:
    """Yields a job a stage, each to wait for the one before; the first stages that are finished need none."""
    after = None
    for stage in whole.tasks[0].stages:
        if after is None and all(stage.name in task.finished for task in whole.tasks):
            continue
        cluster = whole.cluster.of_stage(stage.name, trains=stage.kind.trains)
        if stage.kind.trains and cluster.words != whole.cluster.words:
            _task(cfg, whole.words, cluster, whole.tasks[0].words)  # its batch may not divide by so many processes
        job = replace(whole, name=f"{whole.name}-{stage.name}", cluster=cluster, stage=stage.name, after=after)
        yield job
        after = job.name
