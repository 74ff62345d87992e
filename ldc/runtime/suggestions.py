"""Turns Hydra's and OmegaConf's messages about a config into one sentence with a suggestion."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf


def explain(error: BaseException, arguments: Sequence[str], conf: Path, config_name: str) -> str:
    """Returns one sentence that names the value and the allowed ones, for an error of composing or filling a config."""
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if match := re.search(r"Could not override '([^']+)'", text):
        known = _keys(conf, config_name, arguments, match[1])
        return f"Key {match[1]!r} is not in the config{_nearest(match[1], known)}."
    if match := re.search(r"(?:Could not find|In '[^']+': Could not find) '([^']+)'", text):
        group, _, option = match[1].rpartition("/")
        options = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        return f"{group or 'config'} must be one of {', '.join(options)}, not {option!r}{_nearest(option, options)}."
    if match := re.search(r"Could not override '([^']+)'\. No match in the defaults list", text):
        return f"Group {match[1]!r} is not in the config."
    return text.rstrip(".") + "."


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _keys(conf: Path, config_name: str, arguments: Sequence[str], wrong: str) -> list[str]:
    """Returns all dotted keys of the config that the other arguments compose."""
    others = [a for a in arguments if "=" in a and not a.startswith("-") and a.split("=")[0].lstrip("+~") != wrong]
    GlobalHydra.instance().clear()
    for overrides in (others, [a for a in others if a.startswith("+experiment=")]):
        try:
            with initialize_config_dir(version_base="1.3", config_dir=str(conf)):
                return list(_dotted(compose(config_name, overrides=overrides)))
        except Exception:  # noqa: BLE001, S112  a second wrong key must not hide the first
            continue
    return []


def _dotted(config: DictConfig, prefix: str = "") -> Iterable[str]:
    for key in config:
        yield f"{prefix}{key}"
        child = None if OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key) else config[key]
        if isinstance(child, DictConfig):
            yield from _dotted(child, f"{prefix}{key}.")
