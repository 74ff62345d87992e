"""From the batch of an optimizer step, over all devices, to what each device takes at a time.

The batch decides a result, its division does not: so a fit means the same on one device and on sixty-four.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch

_planning = ContextVar("planning", default=False)


@contextmanager
def planning() -> Iterator[None]:
    """Inside `with`, settings are those of a run elsewhere: what launched this process says nothing of its size."""
    token = _planning.set(True)
    try:
        yield
    finally:
        _planning.reset(token)


class Shares(NamedTuple):
    """How a step's batch is divided: batch_size = ranks x accumulate x micro_batch_size."""

    micro_batch_size: int  # samples that a device takes at a time
    accumulate: int  # times it does so before the optimizer's step


def shares(batch_size: int, micro_batch_size: int | None, num_ranks: int) -> Shares:
    """Divides a step's batch among ranks and micro-batches.

    Args:
        batch_size: samples of one optimizer step, over all ranks.
        micro_batch_size: samples that a rank takes at a time; None: all of its share.
        num_ranks: processes that train.

    Raises:
        ValueError: the batch cannot be divided evenly.
    """
    for name, value in (("batch_size", batch_size), ("micro_batch_size", micro_batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    if batch_size % num_ranks:
        raise ValueError(
            f"batch_size, the samples of a step over all devices, must be divisible by {num_ranks} devices,"
            f" not {batch_size}."
        )
    share = batch_size // num_ranks
    micro = share if micro_batch_size is None else micro_batch_size
    if share % micro:
        raise ValueError(
            f"micro_batch_size must divide a device's share of batch_size, {batch_size} / {num_ranks} = {share},"
            f" not {micro}."
        )
    return Shares(micro, share // micro)


def world_size(trainer: Mapping[str, Any]) -> int:
    """Returns how many processes train by these settings; a launcher that started another number is refused.

    While `planning`, there is no launcher to ask.

    Args:
        trainer: the group `trainer`: accelerator, devices (as Lightning takes them), num_nodes.

    Raises:
        ValueError: a number cannot be, or devices x num_nodes are not the processes that torchrun or srun has started.
    """
    size = num_ranks(trainer)
    if _planning.get():
        return size
    started = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else _slurm_tasks()
    if started is not None and int(started) != size:
        raise ValueError(
            f"trainer.devices x trainer.num_nodes must be the {started} processes that the launcher started,"
            f" not {size}."
        )
    return size


def num_ranks(trainer: Mapping[str, Any]) -> int:
    """Returns devices x num_nodes.

    Raises:
        ValueError: one of them cannot be.
    """
    nodes = trainer["num_nodes"]
    if type(nodes) is not int or nodes < 1:
        raise ValueError(f"trainer.num_nodes must be a whole number from 1, not {nodes!r}.")
    return num_devices(trainer["devices"], trainer["accelerator"]) * nodes


def num_devices(devices: Any, accelerator: str) -> int:
    """Returns the devices of a node: a number, a list, "0,1"; -1 and "auto" mean all GPUs, or one CPU process.

    Raises:
        ValueError: it is none of these.
    """
    text = str(devices)
    if text in {"-1", "auto"}:
        return 1 if accelerator == "cpu" else max(1, torch.cuda.device_count())
    count = int(text) if text.isdigit() else len(_numbers(text if isinstance(devices, str) else devices))
    if count < 1:
        raise ValueError(
            f"trainer.devices must be a number from 1, a list of devices, as [0,1], -1 or auto, not {devices!r}."
        )
    return count


def _numbers(devices: Any) -> list[str]:
    """Returns the numbers of a list of devices, or of "0,1"; none where anything else is among them."""
    if isinstance(devices, str):
        parts = [part.strip() for part in devices.strip(", ").split(",")]
    else:
        parts = [str(part) for part in devices] if isinstance(devices, Sequence) else []
    return parts if all(part.isdigit() for part in parts) else []


def _slurm_tasks() -> str | None:
    """Returns srun's number of tasks; None outside its tasks, and in an interactive shell, as Lightning has it."""
    inside = "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in {None, "bash", "interactive"}
    return os.environ["SLURM_NTASKS"] if inside and "SLURM_STEP_ID" in os.environ else None
