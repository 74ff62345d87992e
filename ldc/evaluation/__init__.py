"""Quality and cost of models, stamped so that unlike figures are not compared."""

from ldc.evaluation.cells import EvaluationSet
from ldc.evaluation.cost import cost
from ldc.evaluation.evaluate import evaluate
from ldc.evaluation.extractors import build_extractor
from ldc.evaluation.stamp import Stamp, compare

__all__ = ["EvaluationSet", "Stamp", "build_extractor", "compare", "cost", "evaluate"]
