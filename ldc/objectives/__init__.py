"""What a student is trained on: objectives own no optimizer, no device and no checkpoint."""

from ldc.objectives.base import Draws, Networks, Objective
from ldc.objectives.block_distillation import BlockDistillation
from ldc.objectives.caption_states import CaptionStates
from ldc.objectives.consistency import ConsistencyDistillation
from ldc.objectives.denoising import Denoising
from ldc.objectives.language_modelling import CausalScores, LanguageModelling
from ldc.objectives.logit_distillation import LogitDistillation
from ldc.objectives.reconstruction import Reconstruction
from ldc.objectives.text_denoising import TextDenoising

__all__ = [
    "BlockDistillation",
    "CaptionStates",
    "CausalScores",
    "ConsistencyDistillation",
    "Denoising",
    "Draws",
    "LanguageModelling",
    "LogitDistillation",
    "Networks",
    "Objective",
    "Reconstruction",
    "TextDenoising",
]
