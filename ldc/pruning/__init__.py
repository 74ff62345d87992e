"""Criteria that decide what goes; each gives a plan."""

from ldc.pruning.bksdm import BlockRemoval
from ldc.pruning.depth.pruner import DepthPruning
from ldc.pruning.width import Flap, LlmPruner, WandaSp

__all__ = ["BlockRemoval", "DepthPruning", "Flap", "LlmPruner", "WandaSp"]
