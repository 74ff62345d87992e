"""What each architecture allows: stages, key maps, settling after an edit, feature points and taps."""

from ldc.families.unet2d import Stage, Unit, key_map, settle, stages, stock_config, units
from ldc.families.unet2d_points import feature_points

__all__ = ["Stage", "Unit", "feature_points", "key_map", "settle", "stages", "stock_config", "units"]
