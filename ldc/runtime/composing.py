"""Composes the config of `ldc.train` from the words of its command line, inside another command or outside of any."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from ldc.runtime.arguments import legalise
from ldc.runtime.checks import check_command
from ldc.runtime.paths import CONF
from ldc.runtime.signatures import check_signatures


def train_config(words: Sequence[str]) -> DictConfig:
    """Returns the config that `python -m ldc.train WORDS` composes, unresolved.

    Raises:
        ValueError: a setting is none of what it is meant for.
        hydra.errors.HydraException: a key or an option does not exist; entry points say which one is near.
    """
    arguments = legalise(words, CONF)
    if GlobalHydra.instance().is_initialized():
        cfg = compose("train", overrides=arguments)
    else:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = compose("train", overrides=arguments)
    check_command(cfg)
    check_signatures(cfg)
    return cfg
