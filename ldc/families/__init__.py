"""What each architecture allows: stages, settling after an edit, feature points and taps."""

from ldc.families.unet2d import Stage, Unit, settle, stages, stock_config, units
from ldc.families.unet2d_depths import Transformer, transformers
from ldc.families.unet2d_points import feature_points
from ldc.families.unet2d_table import plan_rows, plan_table

__all__ = [
    "Stage",
    "Transformer",
    "Unit",
    "feature_points",
    "plan_rows",
    "plan_table",
    "settle",
    "stages",
    "stock_config",
    "transformers",
    "units",
]
