"""A group of the ranks that torchrun or srun has started, for work outside of any fit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from torch import distributed

_PORTS = range(25_000, 32_000)  # above those that Lightning makes of SLURM's job ids, below those that systems give out
_kept: list[distributed.Store] = []
_PATIENCE = timedelta(hours=24)  # a rank with fewer or faster GPUs waits for the slowest, not for half an hour


@contextmanager
def joined(name: str) -> Iterator[int]:
    """Yields the number of ranks: in the group that a fit has left, or in one of gloo's that ends with the `with`.

    Where torch.distributed is initialised, that group serves. Else the ranks find each other as a fit's do, by the
    variables of torchrun or of SLURM; one process alone needs no group.

    Args:
        name: of the work, unlike that of other work of these processes: what an earlier group left in torchrun's store
            must not be taken for this one's.
    """
    if distributed.is_initialized():
        yield distributed.get_world_size()
        return
    environment = _environment()
    if environment is None or environment.world_size() == 1:
        yield 1
        return
    rank, size = environment.global_rank(), environment.world_size()
    own = distributed.PrefixStore(f"ldc-{name}", _store(environment, rank, size))
    distributed.init_process_group("gloo", store=own, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield size
    finally:
        distributed.destroy_process_group()


def _store(environment: Any, rank: int, size: int) -> distributed.Store:
    """Returns where the ranks read each other's addresses: torchrun's store, or one in rank zero's process.

    The latter is kept as long as the process, on a port that no fit takes: if it ended with a group, a rank that is
    early for the next one could still reach the old.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return next(distributed.rendezvous("env://", rank, size))[0]
    if not _kept:
        port = _PORTS.start + environment.main_port % len(_PORTS)
        host = environment.main_address
        _kept.append(distributed.TCPStore(host, port, size, is_master=rank == 0, timeout=_PATIENCE))
    return _kept[0]


def _environment() -> Any:
    """Returns Lightning's picture of what started this process, None for one process alone or an unknown start."""
    elastic = distributed.is_torchelastic_launched()  # torchrun can run below srun
    if not elastic and "SLURM_PROCID" not in os.environ:
        return None
    from lightning.fabric.plugins.environments import (  # noqa: PLC0415 - seconds, for nothing in one process alone
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    if elastic:
        return TorchElasticEnvironment()
    return SLURMEnvironment() if SLURMEnvironment.detect() else None
