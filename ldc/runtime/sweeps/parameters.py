"""The parameters of a W&B sweep file: what values each may take, and how one is drawn."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldc.runtime.suggestions import nearest

Draw = Callable[[random.Random, Mapping[str, Any]], Any]
_DRAWS: dict[str, Draw] = {
    "constant": lambda _, p: p["value"],
    "categorical": lambda source, p: source.choice(p["values"]),
    "categorical_w_probabilities": lambda source, p: source.choices(p["values"], p["probabilities"])[0],
    "int_uniform": lambda source, p: source.randint(p["min"], p["max"]),
    "uniform": lambda source, p: source.uniform(p["min"], p["max"]),
    "q_uniform": lambda source, p: _quantised(source.uniform(p["min"], p["max"]), p["q"]),
    "log_uniform": lambda source, p: math.exp(source.uniform(p["min"], p["max"])),
    "log_uniform_values": lambda source, p: _log_uniform(source, p),  # noqa: PLW0108 - defined below
    "q_log_uniform_values": lambda source, p: _quantised(_log_uniform(source, p), p["q"]),
    "normal": lambda source, p: source.gauss(p["mu"], p["sigma"]),
    "q_normal": lambda source, p: _quantised(source.gauss(p["mu"], p["sigma"]), p["q"]),
}
"""W&B's distributions that are drawn here too, with its meaning of each."""

_DEFAULTS = {"q": 1, "mu": 0, "sigma": 1}
_OF_VALUES = frozenset({"log_uniform_values", "q_log_uniform_values"})  # whose bounds are values, not exponents


def _needed(distribution: str) -> tuple[str, ...]:
    """Returns the settings that a distribution has."""
    values = {"constant": ("value",), "categorical": ("values",)}
    if distribution in values:
        return values[distribution]
    if distribution == "categorical_w_probabilities":
        return ("values", "probabilities")
    bounds = ("mu", "sigma") if distribution.endswith("normal") else ("min", "max")
    return (*bounds, "q") if distribution.startswith("q_") else bounds


@dataclass(frozen=True)
class Parameter:
    """One parameter; `name` is a key of `ldc.train`'s command line."""

    name: str
    distribution: str
    settings: Mapping[str, Any]

    @property
    def is_swept(self) -> bool:
        """Whether it can take more than one value."""
        return self.distribution != "constant"

    @property
    def is_log(self) -> bool:
        """Whether equal ratios of its values are equally likely."""
        return "log_uniform" in self.distribution

    @property
    def count(self) -> int | None:
        """How many values it has, None where they cannot be listed."""
        p = self.settings
        match self.distribution:
            case "constant":
                return 1
            case "categorical" | "categorical_w_probabilities":
                return len(p["values"])
            case "int_uniform":
                return p["max"] - p["min"] + 1
            case "q_uniform":
                return math.floor((p["max"] - p["min"]) / p["q"] + 1e-9) + 1
            case _:
                return None

    def values(self) -> list[Any] | None:
        """Returns all values in order, None where they cannot be listed."""
        p = self.settings
        match self.distribution:
            case "constant":
                return [p["value"]]
            case "categorical" | "categorical_w_probabilities":
                return list(p["values"])
            case "int_uniform":
                return list(range(p["min"], p["max"] + 1))
            case "q_uniform":
                return [_quantised(p["min"] + step * p["q"], p["q"]) for step in range(self.count or 0)]
            case _:
                return None

    def draw(self, seed: int, number: int) -> Any:
        """Returns the value of one trial, a pure function of (seed, number, name)."""
        return _DRAWS[self.distribution](random.Random(f"{seed}/{number}/{self.name}"), self.settings)  # noqa: S311


def read_parameter(name: str, config: Any) -> Parameter:
    """Returns a parameter of W&B's form: value, values (and probabilities), or min, max and perhaps a distribution.

    Raises:
        ValueError: it is none of those forms, or a value is none that a command line can carry.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"Parameter {name!r} must have value, values, or min and max, not {config!r}.")  # noqa: TRY004
    if "parameters" in config:
        raise ValueError(f"Parameter {name!r} must not be nested: name the whole key, as {name}.KEY.")
    distribution = config.get("distribution") or _distribution(name, config)
    if distribution not in _DRAWS:
        raise ValueError(f"distribution of {name!r} must be one of {', '.join(_DRAWS)}, not {distribution!r}.")
    allowed = _needed(distribution)
    settings = {key: value for key, value in config.items() if key != "distribution"}
    for key in settings:
        if key not in allowed:
            known = ", ".join(allowed)
            raise ValueError(f"Parameter {name!r} with {distribution} has {known}, not {key!r}{nearest(key, allowed)}.")
    settings = {key: _DEFAULTS[key] for key in allowed if key in _DEFAULTS} | settings
    missing = [key for key in allowed if key not in settings]
    if missing:
        raise ValueError(f"Parameter {name!r} with {distribution} must have {missing[0]}, which it lacks.")
    _check(name, distribution, settings)
    return Parameter(name, distribution, settings)


def _distribution(name: str, config: Mapping[str, Any]) -> str:
    """Returns what W&B takes where none is named."""
    if "value" in config:
        return "constant"
    if "values" in config:
        return "categorical_w_probabilities" if "probabilities" in config else "categorical"
    if "min" in config and "max" in config:
        whole = type(config["min"]) is int and type(config["max"]) is int
        return "int_uniform" if whole else "uniform"
    raise ValueError(
        f"Parameter {name!r} must have value, values, or min and max, not {', '.join(config) or 'nothing'}."
    )


def _check(name: str, distribution: str, settings: Mapping[str, Any]) -> None:
    values = settings.get("values", [settings["value"]] if "value" in settings else None)
    if values is not None:
        if not isinstance(values, list) or not values:
            raise ValueError(f"values of {name!r} must be a list of at least one, not {values!r}.")
        for value in values:
            if not isinstance(value, str | int | float | list):
                raise ValueError(  # noqa: TRY004
                    f"A value of {name!r} must be a text, a number, a list or true or false, not {value!r}."
                )
    if "probabilities" in settings and not _fit(settings["probabilities"], settings["values"]):
        raise ValueError(f"probabilities of {name!r} must be a number from 0 for each value, summing to 1.")
    for key in settings.keys() & {"min", "max", "mu", "sigma", "q"}:
        whole = distribution == "int_uniform"
        if type(settings[key]) not in ({int} if whole else {int, float}):
            kind = "a whole number" if whole else "a number (YAML's 1.0e-4; its 1e-4 is a text)"
            raise ValueError(f"{key} of {name!r} must be {kind}, not {settings[key]!r}.")
    if "min" in settings and not settings["min"] < settings["max"]:
        raise ValueError(f"min of {name!r} must be below max {settings['max']}, not {settings['min']}.")
    for key in ("q", "sigma", *(["min"] if distribution in _OF_VALUES else [])):
        if key in settings and settings[key] <= 0:
            raise ValueError(f"{key} of {name!r} must be above 0, not {settings[key]}.")


def _fit(probabilities: Any, values: list[Any]) -> bool:
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        return False
    return all(type(p) in {int, float} and p >= 0 for p in probabilities) and math.isclose(sum(probabilities), 1)


def _log_uniform(source: random.Random, p: Mapping[str, Any]) -> float:
    return math.exp(source.uniform(math.log(p["min"]), math.log(p["max"])))


def _quantised(value: float, q: float) -> float:
    """Returns the nearest multiple of q, without the digits that the multiplication adds."""
    whole = round(value / q) * q
    return whole if type(q) is int else float(f"{whole:.12g}")
