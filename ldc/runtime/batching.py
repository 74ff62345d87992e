"""From the batch of an optimizer step, over all devices, to what each device takes at a time.

The batch decides a result, its division does not: so a fit means the same on one device and on sixty-four.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch


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

    Args:
        trainer: the group `trainer`: accelerator, devices (as Lightning takes them), num_nodes.

    Raises:
        ValueError: devices x num_nodes are not the processes that torchrun or srun has started.
    """
    size = num_devices(trainer["devices"], trainer["accelerator"]) * trainer["num_nodes"]
    started = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else _slurm_tasks()
    if started is not None and int(started) != size:
        raise ValueError(
            f"trainer.devices x trainer.num_nodes must be the {started} processes that the launcher started,"
            f" not {size}."
        )
    return size


def num_devices(devices: Any, accelerator: str) -> int:
    """Returns the devices of a node: a number, a list, "0,1"; -1 and "auto" mean all GPUs, or one CPU process."""
    if not isinstance(devices, int | str):
        return len(devices)
    text = str(devices)
    if text in {"-1", "auto"}:
        return 1 if accelerator == "cpu" else max(1, torch.cuda.device_count())
    return int(text) if text.isdigit() else len([part for part in text.split(",") if part.strip()])


def _slurm_tasks() -> str | None:
    """Returns srun's number of tasks; None outside its tasks, and in an interactive shell, as Lightning has it."""
    inside = "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in {None, "bash", "interactive"}
    return os.environ["SLURM_NTASKS"] if inside and "SLURM_STEP_ID" in os.environ else None
