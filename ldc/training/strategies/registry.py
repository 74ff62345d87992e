"""From a strategy's name in a config to the object that Lightning's Trainer takes."""

import importlib.util
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

from ldc.training.strategies.sharded import Sharded

ZERO = {f"deepspeed_zero{stage}": stage for stage in (1, 2, 3)}
DDP = {"ddp": "popen", "ddp_fork": "fork"}  # how Lightning's own launcher starts the processes
NAMES = ("auto", *DDP, "fsdp2", *ZERO)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
TIMEOUT_SECONDS = 600.0


def build(
    strategy: Any = "auto",
    *,
    accelerator: str = "auto",
    devices: int | str | Sequence[int] = "auto",
    num_nodes: int = 1,
    precision: str = "32-true",
    timeout_seconds: float = TIMEOUT_SECONDS,
    shard_teacher: bool = False,
) -> Any:
    """Returns Lightning's strategy of that name; an object passes.

    Args:
        strategy: "auto" is no strategy for one device and DDP for more.
        timeout_seconds: how long a rank waits for the others in a collective operation before it gives up.

    Raises:
        ValueError: there is no such strategy, or it cannot be had here.
    """
    check(strategy, precision=precision, timeout_seconds=timeout_seconds, shard_teacher=shard_teacher)
    if not isinstance(strategy, str):
        return strategy
    if strategy == "auto":
        if one_device(accelerator, devices, num_nodes):
            return "auto"
        strategy = "ddp"
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    backend, timeout = "gloo" if on_cpu else "nccl", timedelta(seconds=timeout_seconds)
    if strategy in DDP:
        return ddp(backend, timeout, DDP[strategy])
    if strategy == "fsdp2":
        from ldc.training.strategies.fsdp2 import Fsdp2  # noqa: PLC0415 - only who asks for it waits for its imports

        return Fsdp2(backend, timeout, shard_teacher=shard_teacher)
    return zero(ZERO[strategy], backend, timeout, on_cpu=on_cpu)


def ddp(backend: str, timeout: timedelta, start_method: Any) -> Strategy:
    """Returns DDP for a network whose every trained weight takes part in every step.

    `static_graph` stays off: it is for reentrant checkpointing and for parameters that are used more than once or not
    at all in a step, and networks here have none of these.
    """
    return DDPStrategy(
        process_group_backend=backend,
        timeout=timeout,
        start_method=start_method,
        find_unused_parameters=False,
        gradient_as_bucket_view=True,
    )


def zero(stage: int, backend: str, timeout: timedelta, *, on_cpu: bool) -> Strategy:
    """Returns ZeRO of a stage; deepspeed is told before its import that there are no GPUs."""
    if on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from ldc.training.strategies.zero import CpuZero, Zero  # noqa: PLC0415

    return (CpuZero if on_cpu else Zero)(stage, backend, timeout)


def one_device(accelerator: str, devices: int | str | Sequence[int], num_nodes: int) -> bool:
    """Tells whether a fit has one device in all."""
    if num_nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return False
    if not isinstance(devices, int | str):
        return len(devices) == 1
    if str(devices) in {"auto", "-1"}:
        return accelerator == "cpu" or torch.cuda.device_count() <= 1
    return str(devices) == "1" or (not str(devices).isdigit() and "," not in str(devices).strip(","))  # "3,": number 3


def check_form(strategy: Any, checkpoint: Path | None) -> None:
    """Checks that a strategy can read a checkpoint of this form.

    Raises:
        ValueError: it reads files and this is a folder of shards, or the reverse.
    """
    if checkpoint is None or checkpoint.is_dir() == isinstance(strategy, Sharded):
        return
    if checkpoint.is_dir():
        raise ValueError(
            f"resume must be a checkpoint in one file for this strategy, but {checkpoint} holds shards: go on with the"
            " strategy that wrote them (fsdp2 or deepspeed_zero1, 2, 3), on any number of devices."
        )
    raise ValueError(
        f"resume must be a checkpoint of shards for this strategy, but {checkpoint} is one file: go on with the"
        " strategy that wrote it (auto or ddp), on any number of devices."
    )


def check(
    strategy: Any,
    *,
    precision: str = "32-true",
    timeout_seconds: float = TIMEOUT_SECONDS,
    shard_teacher: bool = False,
) -> None:
    """Checks what can be known of a strategy before any work.

    Raises:
        ValueError: there is no such strategy or precision, deepspeed is missing, or the teacher cannot be sharded.
    """
    if isinstance(strategy, str) and strategy not in NAMES:
        raise ValueError(f"strategy must be {', '.join(NAMES[:-1])} or {NAMES[-1]}, not {strategy!r}.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, not {precision!r}.")
    if timeout_seconds <= 0:
        raise ValueError(f"timeout_seconds must be positive, not {timeout_seconds}.")
    if strategy in ZERO and importlib.util.find_spec("deepspeed") is None:
        raise ValueError(f"strategy must be ddp or fsdp2 where deepspeed is not installed, not {strategy!r}.")
    if precision == "16-mixed" and (strategy == "fsdp2" or strategy in ZERO):
        raise ValueError(f"precision must be 32-true or bf16-mixed with strategy {strategy!r}, not {precision!r}.")
    if shard_teacher and strategy != "fsdp2":
        raise ValueError(f"shard_teacher must be false with strategy {strategy!r}: only fsdp2 can shard a teacher.")
