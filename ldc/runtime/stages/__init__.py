from ldc.runtime.stages.autoencoder import Autoencoder
from ldc.runtime.stages.denoiser import Denoiser
from ldc.runtime.stages.encode import Encode
from ldc.runtime.stages.encode_latents import EncodeLatents
from ldc.runtime.stages.encode_texts import EncodeTexts
from ldc.runtime.stages.evaluate import Evaluate
from ldc.runtime.stages.evaluate_language import EvaluateLanguage
from ldc.runtime.stages.fit import Fit
from ldc.runtime.stages.fit_language import FitLanguage
from ldc.runtime.stages.parts import Parts
from ldc.runtime.stages.prune import Prune
from ldc.runtime.stages.prune_language import PruneLanguage
from ldc.runtime.stages.publish import Publish
from ldc.runtime.stages.quantize_language import QuantizeLanguage
from ldc.runtime.stages.retraining_curves import RetrainingCurves
from ldc.runtime.stages.score_blocks import ScoreBlocks
from ldc.runtime.stages.text_encoder import TextEncoder

__all__ = [
    "Autoencoder",
    "Denoiser",
    "Encode",
    "EncodeLatents",
    "EncodeTexts",
    "Evaluate",
    "EvaluateLanguage",
    "Fit",
    "FitLanguage",
    "Parts",
    "Prune",
    "PruneLanguage",
    "Publish",
    "QuantizeLanguage",
    "RetrainingCurves",
    "ScoreBlocks",
    "TextEncoder",
]
