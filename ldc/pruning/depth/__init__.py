"""Depth pruning of language models: scores of whole blocks, and the choice of those that go."""

from ldc.pruning.depth.criteria import CRITERIA, build_criterion
from ldc.pruning.depth.criterion import Criterion
from ldc.pruning.depth.magnitude import Magnitude
from ldc.pruning.depth.perplexity import Perplexity
from ldc.pruning.depth.pruner import DepthPruning
from ldc.pruning.depth.scores import BlockScores, load_scores, read_order, save_scores
from ldc.pruning.depth.scoring import score_blocks
from ldc.pruning.depth.selection import depth_plan, select
from ldc.pruning.depth.taylor import Taylor

__all__ = [
    "CRITERIA",
    "BlockScores",
    "Criterion",
    "DepthPruning",
    "Magnitude",
    "Perplexity",
    "Taylor",
    "build_criterion",
    "depth_plan",
    "load_scores",
    "read_order",
    "save_scores",
    "score_blocks",
    "select",
]
