"""The diffusion process, its solver and the parts of a consistency function; nothing here knows a network."""

from ldc.diffusion.process import Process
from ldc.diffusion.solver import SkippingStepDDIM

__all__ = ["Process", "SkippingStepDDIM"]
