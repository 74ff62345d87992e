"""The checks that `ldc.train` makes before any work, all of them made, so that every failure is named at once."""

from collections import defaultdict

from hydra.errors import HydraException
from omegaconf import DictConfig

from ldc.runtime.chain import Stage, checks, unchecked
from ldc.runtime.doctor.findings import FAILED, OK, Finding, failure, several

CONFIG = "config"


def check_config(cfg: DictConfig) -> tuple[list[Stage], list[Finding]]:
    """Returns the chain's stages, none where they cannot be built, and a finding for each sentence of refusal."""
    try:
        stages = unchecked(cfg)
    except (ValueError, HydraException) as error:
        return [], [Finding(CONFIG, FAILED, " ".join(str(error.__cause__ or error).split()))]
    refused: dict[str, list[str]] = defaultdict(list)
    for place, check in checks(cfg, stages):
        sentence = failure(check)
        if sentence is not None:
            refused[sentence].append(place)
    found = several(CONFIG, FAILED, refused)
    return stages, found or [Finding(CONFIG, OK, f"{len(stages)} stages: {', '.join(stage.name for stage in stages)}")]
