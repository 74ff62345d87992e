"""Criteria that decide what goes; each gives a plan."""

from ldc.pruning.bksdm import BlockRemoval

__all__ = ["BlockRemoval"]
