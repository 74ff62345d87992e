"""A W&B sweep file, read for the local agent: the same text starts the same trials with and without a server."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ldc.runtime.suggestions import nearest
from ldc.runtime.sweeps.parameters import Parameter, read_parameter

log = logging.getLogger(__name__)
PROGRAMS = ("ldc.train", "ldc.launch")
METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
ARGUMENTS = "${args_no_hyphens}"
_START = ["${env}", "${interpreter}", "-m", "${program}"]
_KEYS = {"program", "method", "metric", "parameters", "command"}
_OPTIONAL = {"name", "description", "project", "entity", "run_cap", "early_terminate"}


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says. `settings` are the words of its command that every trial has."""

    name: str
    program: str
    method: str
    metric: str  # STAGE.METRIC
    goal: str
    settings: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    run_cap: int | None = None

    @property
    def swept(self) -> list[Parameter]:
        """The parameters that differ among trials."""
        return [parameter for parameter in self.parameters if parameter.is_swept]


def read_sweep(path: Path) -> SweepFile:
    """Returns a sweep file's content.

    Raises:
        ValueError: the file does not exist, or is no W&B sweep file of a form that both sides read alike.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"sweep must be a W&B sweep file, but {str(path)!r} {what}.")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be YAML, but reading it failed: {' '.join(str(error).split())}.") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must have the keys {', '.join(sorted(_KEYS))}, not {content!r}.")  # noqa: TRY004 - a user's input
    _check_keys(path, content)
    if "early_terminate" in content:
        log.warning("early_terminate of %s is W&B's server's to do: here every trial runs to its end.", path)
    settings = _command(path, content)
    metric, goal = _metric(path, content["metric"], settings)
    parameters = tuple(read_parameter(str(name), config) for name, config in _parameters(path, content).items())
    found = SweepFile(
        path.stem, content["program"], content["method"], metric, goal, settings, parameters, content.get("run_cap")
    )
    if not found.swept:
        raise ValueError(f"parameters of {path} must vary at least one setting, but each has one value.")
    return found


def _check_keys(path: Path, content: Mapping[str, Any]) -> None:
    known = _KEYS | _OPTIONAL
    for key in content:
        if key not in known:
            raise ValueError(f"Key {key!r} of {path} is none of a sweep file{nearest(str(key), known)}.")
    for key in sorted(_KEYS):
        if key not in content:
            raise ValueError(f"{path} must have the key {key!r}, which it lacks.")
    if content["method"] not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {content['method']!r}.")
    if content["program"] not in PROGRAMS:
        raise ValueError(f"program must be {' or '.join(PROGRAMS)}, not {content['program']!r}.")
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise ValueError(f"run_cap must be a whole number from 1, not {cap!r}.")


def _parameters(path: Path, content: Mapping[str, Any]) -> Mapping[Any, Any]:
    parameters = content["parameters"]
    if not isinstance(parameters, Mapping) or not parameters:
        raise ValueError(f"parameters of {path} must be names with their values, not {parameters!r}.")
    return parameters


def _command(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the settings among the words of the command."""
    words = content["command"]
    form = f"[{', '.join(_START)}, SETTINGS, {ARGUMENTS}]"
    if not isinstance(words, list) or [str(word) for word in words[: len(_START)]] != _START:
        raise ValueError(f"command of {path} must be {form}, not {words!r}.")
    settings = [str(word) for word in words[len(_START) :]]
    if settings.count(ARGUMENTS) != 1:
        raise ValueError(f"command of {path} must have {ARGUMENTS} once, where the trial's values go.")
    settings.remove(ARGUMENTS)
    for word in settings:
        if content["program"] == "ldc.launch" and word.startswith("--config-dir="):
            continue  # where the site's own cluster file lies
        if word.startswith(("$", "-")) or ("=" not in word and not word.startswith("~")):
            raise ValueError(f"command of {path} must have settings, as KEY=VALUE, behind its program, not {word!r}.")
    return tuple(settings)


def _metric(path: Path, metric: Any, settings: Sequence[str]) -> tuple[str, str]:
    """Returns STAGE.METRIC and the goal; W&B knows the figure as STAGE/METRIC."""
    if not isinstance(metric, Mapping) or set(metric) - {"name", "goal", "target"} or "name" not in metric:
        raise ValueError(f"metric of {path} must have name and goal, not {metric!r}.")
    goal = metric.get("goal", GOALS[0])
    if goal not in GOALS:
        raise ValueError(f"goal of metric must be {' or '.join(GOALS)}, not {goal!r}.")
    given = [word.partition("=")[2] for word in settings if word.startswith("metric=")]
    if len(given) != 1 or given[0].replace(".", "/", 1) != metric["name"]:
        wanted = str(metric["name"]).replace("/", ".", 1)
        raise ValueError(
            f"command of {path} must have metric={wanted}, since W&B's metric is {metric['name']!r}, not {given}."
        )
    return given[0], goal
