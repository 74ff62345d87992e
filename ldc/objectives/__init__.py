"""What a student is trained on: objectives own no optimizer, no device and no checkpoint."""

from ldc.objectives.base import Draws, Networks, Objective
from ldc.objectives.block_distillation import BlockDistillation
from ldc.objectives.consistency import ConsistencyDistillation
from ldc.objectives.denoising import Denoising

__all__ = ["BlockDistillation", "ConsistencyDistillation", "Denoising", "Draws", "Networks", "Objective"]
