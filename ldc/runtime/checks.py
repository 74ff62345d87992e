"""Checks of plain settings of a command, by their key."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from ldc.runtime.paths import CONF

FLAGS = ("debug", "dry_run", "fresh", "reuse", "submit", "chain", "check", "retry", "step")
_PLACES = ("out", "compare", "document", "scores", "prompts_file", "init_image", "paths.outputs")
_MODELS = ("config.json", "model_index.json")  # one of which a model's folder has


def check_command(cfg: DictConfig) -> None:
    """Checks the plain settings that commands share: YAML's `no` is a text here, which would count as true.

    Raises:
        ValueError: a flag is neither true nor false, or there is no folder for outputs.
    """
    for name in FLAGS:
        if name in cfg and type(cfg[name]) is not bool:
            raise ValueError(f"{name} must be true or false, not {cfg[name]!r}.")
    outputs = OmegaConf.select(cfg, "paths.outputs", default="")
    if not isinstance(outputs, str):
        raise ValueError(f"paths.outputs must be a folder, not {outputs!r}.")  # noqa: TRY004 - a user's input


def expand_home(cfg: DictConfig) -> None:
    """Writes the home folder for the ~ that `out=~/x` leaves to us: shells expand it at the start of a word alone."""
    for name in _PLACES:
        place = OmegaConf.select(cfg, name, default=None)
        if isinstance(place, str) and place.partition("/")[0] == "~":
            OmegaConf.update(cfg, name, str(Path(place).expanduser()))


def check_whole(cfg: Mapping[str, Any], *names: str, least: int = 1, optional: bool = False) -> None:
    """Raises ValueError for a key that is no whole number of at least `least`, nor null where that is an option."""
    for name in names:
        value = cfg[name]
        if value is None and optional:
            continue
        if type(value) is not int or value < least:
            raise ValueError(f"{name} must be a whole number from {least}, not {value!r}.")


def check_number(
    cfg: Mapping[str, Any], name: str, above: float | None = None, most: float | None = None, *, optional: bool = False
) -> None:
    """Raises ValueError for a key that is no number in (above, most], nor null where that is an option."""
    value: Any = cfg[name]
    if value is None and optional:
        return
    fits = type(value) in {int, float} and (above is None or value > above) and (most is None or value <= most)
    if not fits:
        rule = "a number" if above is None else f"a number above {above:g}"
        rule = rule if above is None or most is None else f"a number in ({above:g}, {most:g}]"
        raise ValueError(f"{name} must be {rule}, not {value!r}.")


def listed(cfg: DictConfig, name: str) -> list[Any]:
    """Returns the values of a key that may be one value or a list."""
    value: Any = cfg[name]
    return list(value) if isinstance(value, ListConfig) else [value]


def check_each(cfg: DictConfig, name: str, check: Callable[[Mapping[str, Any], str], None]) -> None:
    """Checks every value of a key that may be one value or a list.

    Raises:
        ValueError: one of them is wrong, or the list is empty.
    """
    values = listed(cfg, name)
    if not values:
        raise ValueError(f"{name} must be a value or a list of at least one, not [].")
    for value in values:
        check({name: value}, name)


def refuse_settings(cfg: DictConfig, command: str, names: Sequence[str], of: str) -> None:
    """Raises ValueError for settings or groups that `cfg.student` has no use for and that are not as shipped.

    Args:
        cfg: the command's.
        command: whose conf/<command>.yaml says how they are shipped.
        names: of the settings and groups.
        of: what the student is, such as "a language model".
    """
    shipped: Any = OmegaConf.load(CONF / f"{command}.yaml")
    chosen = [default.items() for default in shipped.defaults if isinstance(default, DictConfig)]
    groups = {name: option for items in chosen for name, option in items}
    for name in names:
        is_group = name not in shipped
        if cfg[name] != (OmegaConf.load(CONF / name / f"{groups[name]}.yaml") if is_group else shipped[name]):
            value = "" if is_group else f", not {cfg[name]!r}"
            raise ValueError(f"{name} must be left out with {cfg.student}, which is {of}{value}.")


def check_texts(cfg: Mapping[str, Any], *names: str) -> None:
    """Raises ValueError for a key that is no list of texts: a text alone would be taken letter by letter."""
    for name in names:
        value = cfg[name]
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise ValueError(f"{name} must be a list of texts, not {value!r}.")


def check_mapping(cfg: Mapping[str, Any], *names: str) -> None:
    """Raises ValueError for a key that is no mapping of names."""
    for name in names:
        value = cfg[name]
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} must be a mapping, as {{NAME: VALUE}}, not {value!r}.")


def refuse_overwriting(out: str | None, **read: str | None) -> None:
    """Refuses to write into a folder that is read from, or inside a model that is: it would be lost, or two things.

    Args:
        out: the folder that the user names.
        read: by the name of its key, a folder, a file in one, an id, or None.

    Raises:
        ValueError: they are the same, or the one is in the other, a model.
    """
    for name, place in read.items():
        path = Path(place or "").expanduser()
        folder = path.parent if path.is_file() else path
        if out is None or place is None or not folder.exists():
            continue
        whose, target = f"{name}'" if name.endswith("s") else f"{name}'s", Path(out).expanduser().resolve()
        if folder.resolve() == target:
            raise ValueError(f"out must be another folder than the {whose}, not {out!r}.")
        if folder.resolve() in target.parents and any((folder / name).is_file() for name in _MODELS):
            raise ValueError(f"out must not be a folder inside the {whose}, not {out!r}.")


def refuse_mixing(out: str | None, other: str) -> None:
    """Refuses a folder that holds a model of the other kind, beside which the student would be a second one.

    Args:
        out: the folder that the user names.
        other: the file that a model of the other kind has: model_index.json of diffusers, config.json of transformers.

    Raises:
        ValueError: the file is there.
    """
    if out is not None and (Path(out).expanduser() / other).is_file():
        raise ValueError(f"out must be a folder without a model of another kind, and {out!r} has a {other}.")


def check_device(device: str) -> None:
    """Raises ValueError for a device that this machine lacks."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that this machine has, such as cpu, not {device!r}.") from error
