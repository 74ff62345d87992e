"""How a fit is divided among devices: a strategy by name, and what each rank holds of a network under it."""

from ldc.training.strategies.parts import is_sharded, local, master, part, stored_shape, whole
from ldc.training.strategies.registry import NAMES, TIMEOUT_SECONDS, build, check, check_form

__all__ = [
    "NAMES",
    "TIMEOUT_SECONDS",
    "build",
    "check",
    "check_form",
    "is_sharded",
    "local",
    "master",
    "part",
    "stored_shape",
    "whole",
]
