"""What a job asks SLURM for, and how many processes of `ldc.train` that makes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ldc.runtime.checks import check_mapping, check_texts, check_whole
from ldc.runtime.launching.container import Container
from ldc.runtime.signatures import check_signatures
from ldc.runtime.suggestions import nearest

_PLAIN = ("partition", "account", "qos", "time", "nodes", "cpus_per_task", "mem")  # as sbatch names them
_LEAST = {"nodes": 1, "gpus_per_node": 0}
_LEAST_OR_NULL = {"tasks_per_node": 1, "cpus_per_task": 1, "array_limit": 1, "signal_seconds": 1}
_LISTS = ("options", "srun_options", "setup")
_MAPPINGS = ("env", "container", "stages")
_PLACE = "cluster."
_TARGET = "ldc.runtime.launching.Cluster"
_OF_ALL = frozenset({"stages", "array_limit", "workdir"})  # a chain's jobs have them in common
_TIME = re.compile(r"\d+(:[0-5]?\d){0,2}|\d+-\d{1,2}(:[0-5]?\d){0,2}")
_ENDLESS = ("UNLIMITED", "INFINITE")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The settings of conf/cluster/*.yaml, which says what each one means.

    Raises:
        ValueError: a setting has another type or form, a number is too small, or the container is none that is known.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | int | None = None
    nodes: int = 1
    gpus_per_node: int = 0
    gpu_request: str = "--gpus-per-node={gpus}"
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    mem: str | int | None = None
    signal_seconds: int | None = 120
    requeue: bool = True
    array_limit: int | None = None
    options: Sequence[str] = ()
    srun_options: Sequence[str] = ()
    workdir: str | None = None
    setup: Sequence[str] = ()
    env: Mapping[str, Any] = field(default_factory=dict)
    python: str = "python"
    container: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {f"{_PLACE}{entry.name}": getattr(self, entry.name) for entry in fields(self)}
        for least, optional in ((_LEAST, False), (_LEAST_OR_NULL, True)):
            for name, number in least.items():
                check_whole(given, f"{_PLACE}{name}", least=number, optional=optional)
        check_texts(given, *(f"{_PLACE}{name}" for name in _LISTS))
        check_mapping(given, *(f"{_PLACE}{name}" for name in _MAPPINGS))
        check_mapping({f"{_PLACE}stages.{name}": own for name, own in self.stages.items()}, *self._stage_places)
        self._check_forms()
        if self.gpus_per_node and self.tasks_per_node not in {None, self.gpus_per_node}:
            raise ValueError(
                "cluster.tasks_per_node must be null where there are GPUs, since each has one process, "
                f"not {self.tasks_per_node} beside cluster.gpus_per_node={self.gpus_per_node}."
            )
        _ = self.image

    @property
    def _stage_places(self) -> list[str]:
        return [f"{_PLACE}stages.{name}" for name in self.stages]

    def _check_forms(self) -> None:
        """Refuses what sbatch or bash would refuse, or would take for something else."""
        time = str(self.time)
        is_time = bool(_TIME.fullmatch(time) and re.search("[1-9]", time)) or time.upper() in _ENDLESS
        if self.time is not None and not is_time:
            raise ValueError(
                "cluster.time must be null, minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS or UNLIMITED, and more "
                f"than zero, not {self.time!r}."
            )
        try:
            self.gpu_request.format(gpus=self.gpus_per_node)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"cluster.gpu_request must have {{gpus}} as its one placeholder, not {self.gpu_request!r}."
            ) from error
        for name, value in self.env.items():
            if not _VARIABLE.fullmatch(name) or isinstance(value, list | Mapping):
                raise ValueError(
                    f"cluster.env must give variables their values, as {{NAME: VALUE}}, not {name!r}: {value!r}."
                )

    @property
    def folder(self) -> Path:
        """The folder in which jobs run, by which relative paths go; sbatch and containers want it absolute."""
        return Path(self.workdir or "").expanduser().absolute()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a job; what is null is left out, but OMP_NUM_THREADS is as many as there are CPUs."""
        given = {"OMP_NUM_THREADS": self.cpus_per_task}
        given |= {name: value for name, value in self.env.items() if value is not None}
        return {name: str(value) for name, value in given.items() if value is not None}

    @property
    def tasks(self) -> int:
        """Processes on a node: one a GPU, else as many as are asked for."""
        return self.gpus_per_node or self.tasks_per_node or 1

    @property
    def image(self) -> Container:
        """The container that the processes run in."""
        known = {entry.name for entry in fields(Container)}
        for key in self.container:
            if key not in known:
                raise ValueError(f"Key 'cluster.container.{key}' is no setting of a container{nearest(key, known)}.")
        return Container(**self.container)

    @property
    def words(self) -> tuple[str, ...]:
        """What `ldc.train` is told of its processes; they are these and no others."""
        words = [f"trainer.num_nodes={self.nodes}", f"trainer.devices={self.tasks}"]
        words += [] if self.gpus_per_node else ["trainer.accelerator=cpu"]
        return (*words, *([] if self.requeue else ["trainer.requeue=false"]))

    def of_stage(self, name: str, *, trains: bool) -> "Cluster":
        """Returns what one stage's job asks for: what does not train is one process, with a GPU where there are any.

        Raises:
            ValueError: `stages` has settings that are none of a cluster's, or of another type.
        """
        own = dict(self.stages.get(name, {}))
        known = {entry.name for entry in fields(self)} - _OF_ALL
        for key in own:
            if key not in known:
                raise ValueError(f"Key 'cluster.stages.{name}.{key}' is no setting of a cluster{nearest(key, known)}.")
        check_signatures(OmegaConf.create({"cluster": {"stages": {name: {"_target_": _TARGET, **own}}}}))
        alone = {} if trains else {"nodes": 1, "gpus_per_node": min(1, self.gpus_per_node), "tasks_per_node": None}
        return replace(self, **{**alone, **own})

    def sbatch_options(self) -> list[str]:
        """Returns sbatch's options that follow from the settings."""
        plain = {name.replace("_", "-"): getattr(self, name) for name in _PLAIN}
        lines = [f"--{name}={value}" for name, value in plain.items() if value is not None]
        lines.append(f"--ntasks-per-node={self.tasks}")
        if self.gpus_per_node:
            lines.append(self.gpu_request.format(gpus=self.gpus_per_node))
        if self.signal_seconds is not None:
            lines.append(f"--signal=USR1@{self.signal_seconds}")
        return [*lines, "--requeue" if self.requeue else "--no-requeue", "--open-mode=append", *self.options]

    def srun(self, workdir: str) -> str:
        """Returns the start of the command that runs a task a process; what the tasks run follows it."""
        words = ["srun", "--kill-on-bad-exit=1"]  # a rank that dies would leave the others waiting for it
        if self.cpus_per_task is not None:
            words.append(f"--cpus-per-task={self.cpus_per_task}")  # srun does not take it from sbatch
        return shlex.join([*words, *self.image.srun_options(workdir), *self.srun_options])
