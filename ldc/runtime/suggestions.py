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
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{match[1]} must be given, as {match[1]}=VALUE."
    if match := re.search(r"Could not (?:override|delete)(?: from config\.)? '([^']+)'", text):
        if match[1].partition("@")[0] in _groups(conf):
            return _no_such_group(match[1], text)
        known = _keys(conf, config_name, arguments, match[1])
        return f"Key {match[1]!r} is not in the config{nearest(match[1], known)}."
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, option = match[1].rpartition("/")
        options = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if not options:
            return f"Group {group!r} is not in the config{nearest(group, _groups(conf))}."
        return f"{group or 'config'} must be one of {', '.join(options)}, not {option!r}{nearest(option, options)}."
    return text.rstrip(".") + "."


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'X'" for the known word that is like `word`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}" if near else ""


def _no_such_group(name: str, text: str) -> str:
    """A group that exists, but not at that place: `objective=X` for `objective@stages.distil.objective=X`."""
    if name == "experiment":
        return "experiment must be added, as +experiment=NAME."
    places = re.search(r"Did you mean to override (?:one of )?([^?,]+)[?,]", text)
    place = places[1] if places else f"{name.partition('@')[0]}@PLACE"
    return f"Group {name!r} is not chosen at the top of this config: name its place, as in {place}=OPTION."


def _groups(conf: Path) -> list[str]:
    return sorted(path.name for path in conf.iterdir() if path.is_dir())


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
