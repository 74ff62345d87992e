"""What of a config decides a result: everything but how and where it is computed."""

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

HOW_AND_WHERE = frozenset(
    {"trainer", "micro_batch_size", "logger", "loader", "grids", "checkpoint", "paths", "hydra", "reference"}
)
COMMAND = frozenset({"run", "fresh", "reuse", "resume", "stage", "dry_run", "debug"})


def relevant(config: Any, leave_out: frozenset[str] = HOW_AND_WHERE) -> Any:
    """Returns plain data: the resolved config without the keys that do not change what comes out."""
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if isinstance(config, dict):
        return {key: relevant(value, leave_out) for key, value in config.items() if key not in leave_out}
    if isinstance(config, list):
        return [relevant(value, leave_out) for value in config]
    return config


def run_name(cfg: DictConfig) -> str:
    """Returns 8 hex digits of the config: the same settings continue the same run."""
    top = {key: cfg[key] for key in cfg if key not in HOW_AND_WHERE | COMMAND}
    text = json.dumps(relevant(OmegaConf.create(top)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
