"""What a job asks SLURM for, and how many processes of `ldc.train` that makes."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ldc.runtime.launching.container import Container
from ldc.runtime.suggestions import nearest

_PLAIN = ("partition", "account", "qos", "time", "nodes", "cpus_per_task", "mem")  # as sbatch names them


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The settings of conf/cluster/*.yaml, which says what each one means.

    Raises:
        ValueError: a number is too small, or the container is none that is known.
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
        least = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": 1, "cpus_per_task": 1, "array_limit": 1}
        for name, number in {**least, "signal_seconds": 1}.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < number):
                raise ValueError(f"cluster.{name} must be a whole number from {number}, not {value!r}.")
        if self.gpus_per_node and self.tasks_per_node not in {None, self.gpus_per_node}:
            raise ValueError(
                "cluster.tasks_per_node must be null where there are GPUs, since each has one process, "
                f"not {self.tasks_per_node} beside cluster.gpus_per_node={self.gpus_per_node}."
            )
        _ = self.image

    @property
    def tasks(self) -> int:
        """Processes on a node: one a GPU, else as many as are asked for."""
        return self.gpus_per_node or self.tasks_per_node or 1

    @property
    def image(self) -> Container:
        """The container that the processes run in."""
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
            ValueError: `stages` has settings that are none of a cluster's.
        """
        own = dict(self.stages.get(name, {}))
        known = {entry.name for entry in fields(self)} - {"stages", "array_limit"}
        for key in own:
            if key not in known:
                raise ValueError(f"Key 'cluster.stages.{name}.{key}' is no setting of a cluster{nearest(key, known)}.")
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
