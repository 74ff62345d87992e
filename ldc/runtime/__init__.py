from ldc.runtime.chain import chain
from ldc.runtime.entry import entry_point
from ldc.runtime.paths import ASSETS, CONF, cache_folder, locate
from ldc.runtime.run import describe, prepare
from ldc.runtime.sources import data_source, prepared
from ldc.runtime.teachers import load_model, teacher_spec

__all__ = [
    "ASSETS",
    "CONF",
    "cache_folder",
    "chain",
    "data_source",
    "describe",
    "entry_point",
    "load_model",
    "locate",
    "prepare",
    "prepared",
    "teacher_spec",
]
