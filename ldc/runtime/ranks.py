"""Which of several processes this is, before any of them has joined the others."""

import os

_NAMES = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def is_rank_zero() -> bool:
    """Tells the process that writes what all share from its helpers."""
    return all(os.environ.get(name, "0") == "0" for name in _NAMES)
