"""Text for language models: documents, calibration, packed tokens, instructions, multiple-choice questions."""

from ldc.data.text.batch import NO_LOSS, TokenBatch
from ldc.data.text.calibration import Calibration, calibration

__all__ = ["NO_LOSS", "Calibration", "TokenBatch", "calibration"]
