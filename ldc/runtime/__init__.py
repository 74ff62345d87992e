from ldc.runtime.budgets import default_budget
from ldc.runtime.chain import begin, chain
from ldc.runtime.checks import check_device, check_each, check_number, check_whole
from ldc.runtime.entry import SummarisedError, entry_point
from ldc.runtime.figures_folder import figures_folder
from ldc.runtime.language_models import find_language_model
from ldc.runtime.life import sign_of_life
from ldc.runtime.models import find_model
from ldc.runtime.paths import ASSETS, CONF, cache_folder, locate
from ldc.runtime.run import describe, prepare
from ldc.runtime.sources import data_source, prepared
from ldc.runtime.teachers import language_spec, names_language_model, teacher_spec
from ldc.runtime.texts import text_counts

__all__ = [
    "ASSETS",
    "CONF",
    "SummarisedError",
    "begin",
    "cache_folder",
    "chain",
    "check_device",
    "check_each",
    "check_number",
    "check_whole",
    "data_source",
    "default_budget",
    "describe",
    "entry_point",
    "figures_folder",
    "find_language_model",
    "find_model",
    "language_spec",
    "locate",
    "names_language_model",
    "prepare",
    "prepared",
    "sign_of_life",
    "teacher_spec",
    "text_counts",
]
