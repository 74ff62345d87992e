"""Which of several processes this is, and which start of it, before any of them has joined the others."""

import os

_NAMES = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
_STARTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")


def is_rank_zero() -> bool:
    """Tells the process that writes what all share from its helpers."""
    return all(os.environ.get(name, "0") == "0" for name in _NAMES)


def is_restart() -> bool:
    """Tells whether SLURM or torchrun has started this job before: its words are those of the first start."""
    return any(int(os.environ.get(name) or "0") > 0 for name in _STARTS)
