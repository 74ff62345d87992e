from ldc.runtime.benchmarks.block_scan import BlockScan
from ldc.runtime.benchmarks.data import Data
from ldc.runtime.benchmarks.full_size import FullSize
from ldc.runtime.benchmarks.generation import Generation
from ldc.runtime.benchmarks.gpu import Gpu
from ldc.runtime.benchmarks.resilience import Resilience
from ldc.runtime.benchmarks.steps import Steps

__all__ = ["BlockScan", "Data", "FullSize", "Generation", "Gpu", "Resilience", "Steps"]
