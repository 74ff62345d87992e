"""The chain of an experiment: stages in order, each skipped when its artifact exists, resumed when interrupted."""

import gc
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc.artifacts import FILE, Artifact, artifact_id, find, publish
from ldc.runtime.agreement import check_teachers
from ldc.runtime.card import FILE as CARD
from ldc.runtime.fingerprint import relevant
from ldc.runtime.finished import finished_elsewhere, is_whole, link, unshare
from ldc.runtime.life import wait_for_artifact
from ldc.runtime.occupancy import occupied
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.run import Run
from ldc.runtime.stage_settings import StageSettingError
from ldc.runtime.versions import versions

log = logging.getLogger(__name__)
IDENTITY = "stage.json"


@dataclass(frozen=True)
class Context:
    """What a stage is given: its folder, the root config, and the artifacts of the stages it names."""

    name: str
    folder: Path
    cfg: DictConfig
    inputs: dict[str, Artifact]


@dataclass(frozen=True)
class Result:
    """What a stage gives back for its artifact (fields as in `ldc.artifacts.Artifact`)."""

    plan_fingerprint: str | None = None
    samples_seen: int = 0
    weights: str | None = None
    guidance: dict[str, Any] | None = None
    base: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


class Kind(Protocol):
    """A stage's work; `conf/stages/*.yaml` names the class, whose arguments are the stage's config."""

    kind: str
    trains: bool  # every rank takes part; other work is rank zero's

    def inputs(self) -> list[str]:
        """Returns the names of the stages whose artifacts it takes."""
        ...

    def identity(self) -> list[str]:
        """Returns hashes of what it takes from outside the run, such as a teacher's weights or a data archive."""
        ...

    def check(self, cfg: DictConfig) -> None:
        """Raises ValueError for what can be known to be wrong before any heavy work."""
        ...

    def run(self, context: Context) -> Result:
        """Does the work, in `context.folder`."""
        ...


@dataclass(frozen=True)
class Stage:
    """One named step of the chain."""

    name: str
    config: DictConfig
    kind: Kind
    must_be_finished: bool = False  # another stage alone is asked for: this one may only be read

    def identity(self, ids: Mapping[str, str]) -> tuple[str, list[str]]:
        """Returns the id of its artifact and those of its parents, from the ids of the stages before it."""
        parents = [ids[name] for name in self.kind.inputs()] + self.kind.identity()
        return artifact_id(self.kind.kind, relevant(self.config), parents), parents

    def execute(self, run: Run) -> Artifact:
        """Returns the stage's artifact, made now unless the run folder holds it already.

        Raises:
            ValueError: the folder holds, or was begun for, another config, may not be made now, or is being made by
                another process.
        """
        inputs = {name: run.artifacts[name] for name in self.kind.inputs()}
        identity, parents = self.identity({name: artifact.id for name, artifact in inputs.items()})
        folder = run.folder / self.name
        self.refuse_other_config(folder, identity)
        found = find(folder)
        if found and is_whole(found):
            log.info("Stage %s: finished before, skipped.", self.name)
            return found
        if self.must_be_finished:
            raise ValueError(f"stage must be one whose inputs are finished, but {self.name!r} in {run.folder} is not.")
        context = Context(self.name, folder, run.cfg, inputs)
        made = (
            finished_elsewhere(Path(run.cfg.paths.outputs), self.kind.kind, identity) if run.cfg.get("reuse") else None
        )
        if is_rank_zero():
            with occupied(run.folder, self.name):
                return self._take(made, run, folder, identity) if made else self._make(context, run, identity, parents)
        if not made and self.kind.trains:
            log.info("Stage %s: %s", self.name, self.kind.kind)
            self._work(context)
        return wait_for_artifact(folder, identity)

    def _make(self, context: Context, run: Run, identity: str, parents: list[str]) -> Artifact:
        folder = context.folder
        found = find(folder)
        if found is not None and found.id == identity and is_whole(found):  # by a process that held it until now
            return found
        log.info("Stage %s: %s", self.name, self.kind.kind)
        self._begin(identity, run, folder)
        is_new, start = not run.cfg.resume and not any(folder.glob("checkpoints/step-*")), time.monotonic()
        result = self._work(context)
        facts: dict[str, Any] = {"config": relevant(self.config), "versions": versions(), **vars(result)}
        if is_new:  # a resumed fit's time is not all here
            facts["metrics"] = {**result.metrics, "seconds": round(time.monotonic() - start, 1)}
        return publish(Artifact(folder, self.kind.kind, identity, parents, **facts))

    def _work(self, context: Context) -> Result:
        result = self.kind.run(context)
        gc.collect()  # trainer and module name each other: a fit's networks would stay in memory beside the next one's
        return result

    def _take(self, made: Artifact, run: Run, folder: Path, identity: str) -> Artifact:
        log.info("Stage %s: finished in %s, linked.", self.name, made.folder)
        self._begin(identity, run, folder)
        return link(made, folder)

    def _begin(self, identity: str, run: Run, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        whole = folder / f".{IDENTITY}"  # other ranks read it at this very moment: never half of it
        whole.write_text(json.dumps({"id": identity}))
        whole.replace(folder / IDENTITY)
        if find(folder) is None:
            self._make_again_what_came_from(identity, run)
        (folder / FILE).unlink(missing_ok=True)  # what it names is gone: other ranks must not take it for finished
        (folder / CARD).unlink(missing_ok=True)  # it describes what is made anew
        unshare(folder)  # linked from another run: that one is finished, and stays as it is

    def refuse_other_config(self, folder: Path, identity: str) -> None:
        """Raises ValueError where the folder holds this stage with another config or other inputs."""
        found, begun = find(folder), folder / IDENTITY
        other = found.id if found else json.loads(begun.read_text())["id"] if begun.is_file() else identity
        if other != identity:
            raise ValueError(
                f"{folder} holds stage {self.name!r} of another config or other inputs ({other}, wanted {identity}): "
                "choose another run=NAME, or start anew with fresh=true."
            )

    def _make_again_what_came_from(self, identity: str, run: Run) -> None:
        """Takes away the artifact files of stages that were made from an earlier version of this one."""
        for path in run.folder.glob(f"*/{FILE}"):
            artifact = find(path.parent)
            if artifact is not None and identity in artifact.parents:
                log.info("Stage %s: made from an earlier %s, so it is made again.", path.parent.name, self.name)
                path.unlink()


def chain(cfg: DictConfig) -> Iterator[Stage]:
    """Yields the experiment's stages in order, all checked first; with `stage=NAME` only that one may be made.

    Raises:
        ValueError: a stage names an input that no earlier stage makes, or a stage's own check fails.
    """
    stages = unchecked(cfg)
    for name, check in checks(cfg, stages):
        try:
            check()
        except StageSettingError as error:
            raise ValueError(f"stages.{name}.{error}") from error
    if cfg.stage is None:
        yield from stages
    else:
        place = [stage.name for stage in stages].index(cfg.stage)
        yield from (replace(stage, must_be_finished=True) for stage in stages[:place])
        yield stages[place]


def checks(cfg: DictConfig, stages: Sequence[Stage]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields (stage's name, check) of all that must hold before any work, in the order in which `chain` asks."""
    names = [stage.name for stage in stages]
    yield "stage", partial(_check_chosen, cfg.stage, names)
    for position, stage in enumerate(stages):
        yield stage.name, partial(_check_inputs, stage, names[:position])
        parts: Any = getattr(stage.kind, "checks", None)  # of a kind whose parts can fail one by one
        yield from ((stage.name, part) for part in (parts(cfg) if parts else [partial(stage.kind.check, cfg)]))
    teachers = [(stage.name, stage.kind.teacher) for stage in stages if getattr(stage.kind, "teacher", None)]
    yield "teacher", partial(check_teachers, teachers)


def _check_chosen(stage: str | None, names: Sequence[str]) -> None:
    if stage is not None and stage not in names:
        raise ValueError(f"stage must be one of {', '.join(names)}, not {stage!r}.")


def _check_inputs(stage: Stage, earlier: Sequence[str]) -> None:
    missing = [name for name in stage.kind.inputs() if name not in earlier]
    if missing:
        raise ValueError(f"Stage {stage.name!r} takes {missing[0]!r}, which no earlier stage makes ({list(earlier)}).")


def unchecked(cfg: DictConfig) -> list[Stage]:
    """Returns the experiment's stages in order, of a resolved config."""
    return [Stage(name, config, instantiate(config, _recursive_=False)) for name, config in cfg.stages.items()]


def identities(stages: Sequence[Stage]) -> dict[str, str]:
    """Returns the id of every stage's artifact, made or not, by the stage's name."""
    ids: dict[str, str] = {}
    for stage in stages:
        ids[stage.name], _ = stage.identity(ids)
    return ids


def begin(run: Run, stages: Sequence[Stage]) -> None:
    """Opens the run's folder for these stages: the config and the versions are written, `fresh=true` empties it first.

    Raises:
        ValueError: the folder holds stages of another config or other inputs, which `fresh=true` does not remove.
    """
    ids = identities(stages)
    for stage in stages:
        removed = run.cfg.fresh and run.cfg.stage in {None, stage.name}
        if not removed:
            stage.refuse_other_config(run.folder / stage.name, ids[stage.name])
    run.open()
