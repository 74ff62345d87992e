"""Plans and what carries them out; knows no architecture."""

from ldc.surgery.apply import Skipped, apply
from ldc.surgery.edits import Detach, Keep, Skip, Slice
from ldc.surgery.plan import Plan, key_map

__all__ = ["Detach", "Keep", "Plan", "Skip", "Skipped", "Slice", "apply", "key_map"]
