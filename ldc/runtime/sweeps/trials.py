"""From a sweep file to its trials: a grid, or draws by seed, each one command of `ldc.train`."""

import hashlib
import itertools
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.runtime.composing import train_config
from ldc.runtime.run import prepare
from ldc.runtime.sweeps.file import SweepFile

LOCAL_METHODS = ("grid", "random")
_OWN = ("run", "metric", "paths.outputs")  # a trial's place, and what the file compares
_LARGEST_GRID = 10_000  # values of one parameter
_DRAWS_PER_TRIAL = 100  # of a few values, draws repeat each other: then there are fewer trials than were asked for


@dataclass(frozen=True)
class Trial:
    """One trial: `values` of the swept parameters, and all words of its command but those of the place it runs in."""

    number: int
    sweep: str
    program: str
    values: dict[str, Any]
    words: tuple[str, ...]
    place: tuple[str, ...]  # paths.outputs and the like

    @cached_property
    def id(self) -> str:
        """8 hex digits of what it runs: a sweep file that gets more values keeps its finished trials."""
        return hashlib.sha256(json.dumps([self.program, *self.words]).encode()).hexdigest()[:8]

    @property
    def run(self) -> str:
        return f"{self.sweep}-{self.id}"

    @property
    def arguments(self) -> list[str]:
        """The words of the command; the run's name is fixed, so the same command goes on where it stopped."""
        return list(merged([*self.words, *self.place, f"run={self.run}"]))

    @property
    def command(self) -> str:
        """What a shell takes to do the same in the default folders."""
        return f"python -m {self.program} {shlex.join(self.words)}"

    @cached_property
    def folder(self) -> Path:
        """The folder of its run.

        Raises:
            ValueError: a setting is none of what it is meant for.
        """
        return prepare(train_config(self.training_words)).folder

    @property
    def training_words(self) -> list[str]:
        """The words that are those of `ldc.train`."""
        if self.program == "ldc.train":
            return self.arguments
        from ldc.runtime.launching.words import train_words  # noqa: PLC0415 - only a cluster's sweep needs it

        words = train_words(self.arguments)
        return [*words.settings, f"run={self.run}"]


def trials(sweep: SweepFile, cfg: DictConfig) -> list[Trial]:
    """Returns the sweep's trials, the first `count` of them where it is given; more of them begin with the same ones.

    Raises:
        ValueError: the method is W&B's server's, a parameter of a grid has no list of values, or random trials are not
            counted.
    """
    if sweep.method not in LOCAL_METHODS:
        known = " or ".join(LOCAL_METHODS)
        raise ValueError(f"method must be {known} to run here, since W&B's server alone has {sweep.method!r}.")
    count = sweep.run_cap if cfg.count is None else cfg.count
    if sweep.method == "grid":
        assignments = itertools.islice(_grid(sweep), count)
    elif count is None:
        raise ValueError("count must be given for method random, which has no end, as count=NUMBER.")
    else:
        assignments = _distinct(_drawn(sweep, cfg.seed), count)
    place = [f"paths.outputs={cfg.paths.outputs}"]
    place += [] if cfg.paths.cache is None else [f"paths.cache={cfg.paths.cache}"]
    constant = {p.name: p.settings["value"] for p in sweep.parameters if not p.is_swept}
    fixed = [word for word in sweep.settings if not word.startswith("run=")]  # W&B's run id, where there is none here
    more = _overrides(cfg.overrides)
    found = []
    for number, values in enumerate(assignments, start=1):
        words = merged([*fixed, *_words(constant | values), *more])
        found.append(Trial(number, sweep.name, sweep.program, values, tuple(words), tuple(place)))
    return found


def _overrides(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"overrides must be words as in a shell, with every quote closed, not {text!r}.") from error
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals and not word.startswith("~"):
            raise ValueError(f"overrides must be settings, as KEY=VALUE, not {word!r}.")
        if name in _OWN:
            raise ValueError(f"overrides must leave {name} to the sweep, not set {word!r}.")
    return words


def merged(words: Sequence[str]) -> list[str]:
    """Returns the words without those that a later one of the same key replaces: Hydra refuses a group named twice."""
    last = {word.partition("=")[0]: word for word in words}
    return list(last.values())


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]  # as W&B's ${args_no_hyphens}


def _grid(sweep: SweepFile) -> Iterator[dict[str, Any]]:
    lists = {}
    for parameter in sweep.swept:
        if parameter.count is None:
            raise ValueError(
                f"Parameter {parameter.name!r} must have values for method grid, not {parameter.distribution}."
            )
        if parameter.count > _LARGEST_GRID:
            raise ValueError(
                f"Parameter {parameter.name!r} must have at most {_LARGEST_GRID} values for method grid, "
                f"not {parameter.count}: method random draws from as many."
            )
        lists[parameter.name] = parameter.values() or []
    return (dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))


def _drawn(sweep: SweepFile, seed: int) -> Iterator[dict[str, Any]]:
    return ({parameter.name: parameter.draw(seed, number) for parameter in sweep.swept} for number in itertools.count())


def _distinct(assignments: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for values in itertools.islice(assignments, count * _DRAWS_PER_TRIAL):
        if values not in found:
            found.append(values)
        if len(found) == count:
            break
    return found
