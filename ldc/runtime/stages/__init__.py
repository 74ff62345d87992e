from ldc.runtime.stages.encode import Encode
from ldc.runtime.stages.evaluate import Evaluate
from ldc.runtime.stages.fit import Fit
from ldc.runtime.stages.prune import Prune

__all__ = ["Encode", "Evaluate", "Fit", "Prune"]
