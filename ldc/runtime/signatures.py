"""Checks that a config's settings are arguments of what they build, before anything is built."""

import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from ldc.runtime.suggestions import nearest

_RESERVED = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def check_signatures(config: DictConfig) -> None:
    """Checks every node of the config that names a `_target_`: the target exists, takes the keys, and the simple types.

    What has a `check_kinds` is asked first whether its parts are of a kind that it can use: the settings that an
    experiment gives to one kind are strange to the other, but it is the choice that is wrong.

    Raises:
        ValueError: a key or a value that the target does not take, by its place in the config, or a part of another
            kind.
    """
    found = [(place, node, _target(place, node)) for place, node in targets(config)]
    for _, node, target in found:
        if hasattr(target, "check_kinds"):
            target.check_kinds(node)
    for place, node, target in found:
        _check(place, node, target)


def targets(config: Any, place: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yields (dotted place, node) of all nodes with a `_target_`; what is missing or cannot be resolved is left out."""
    if isinstance(config, DictConfig):
        if "_target_" in config:
            yield place, config
        names: Iterable[Any] = config.keys()
    elif isinstance(config, ListConfig):
        names = range(len(config))
    else:
        return
    for name in names:
        # An interpolated node is checked where it stands.
        if not OmegaConf.is_missing(config, name) and not OmegaConf.is_interpolation(config, name):
            yield from targets(config[name], f"{place}.{name}" if place else str(name))


def _target(place: str, node: Mapping[str, Any]) -> Any:
    try:
        return get_object(node["_target_"])
    except Exception as error:
        raise ValueError(f"{place}._target_ must name a class or function, not {node['_target_']!r}.") from error


def _check(place: str, node: Mapping[str, Any], target: Any) -> None:
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    for name in node:
        if name in _RESERVED:
            continue
        if name not in parameters:
            known = f"{', '.join(sorted(parameters))}{nearest(name, parameters)}"
            raise ValueError(f"Key {f'{place}.{name}'!r} is not a setting of {target.__name__}, which has {known}.")
        if not OmegaConf.is_missing(node, name):
            _check_value(f"{place}.{name}", node[name], hints.get(name, Any))


def _check_value(place: str, value: Any, hint: Any) -> None:
    allowed = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    if not set(allowed) <= _NAMES.keys():
        return  # only plain values are told apart here
    given = type(value)
    if given not in allowed and not (given is int and float in allowed):
        raise ValueError(f"{place} must be {' or '.join(_NAMES[kind] for kind in allowed)}, not {value!r}.")
