"""Width pruning of language models: KV groups and feed-forward neurons go, every block stays."""

from ldc.pruning.width.flap import Flap
from ldc.pruning.width.llm_pruner import LlmPruner
from ldc.pruning.width.result import WidthResult, install
from ldc.pruning.width.scores import WidthScores
from ldc.pruning.width.wanda_sp import WandaSp

__all__ = ["Flap", "LlmPruner", "WandaSp", "WidthResult", "WidthScores", "install"]
