"""Tells the words of a launch from those of `ldc.train`, which travel into the job as they were typed."""

from collections.abc import Sequence
from typing import NamedTuple

OWN = frozenset({"cluster", "array", "chain", "submit", "check", "out", "dry_run"})
DERIVED = ("trainer.devices", "trainer.num_nodes")
_CONFIG_DIR = ("--config-dir", "-cd")


class Words(NamedTuple):
    """A command line of `ldc.train`, in parts."""

    flags: tuple[str, ...]  # where more configs lie
    settings: tuple[str, ...]  # as they were typed


def train_words(arguments: Sequence[str]) -> Words:
    """Returns what of a launch's command line is `ldc.train`'s; `run` is left out, since the launch gives it.

    Raises:
        ValueError: a word has no place in a job, or is what the cluster's settings decide.
    """
    flags: list[str] = []
    settings: list[str] = []
    rest = iter(arguments)
    for word in rest:
        key, _, value = word.partition("=")
        name = key.lstrip("+~").partition("@")[0]
        if key in _CONFIG_DIR:
            flags.append(f"--config-dir={value or next(rest, '')}")
        elif word.startswith("-"):
            raise ValueError(
                f"A launch takes settings, as key=value, and --config-dir=FOLDER, not {word!r}: see array."
            )
        elif name in DERIVED:
            raise ValueError(
                f"{name} must come from the cluster's nodes, gpus_per_node or tasks_per_node, not {word!r}."
            )
        elif name.partition(".")[0] not in OWN and name != "run":
            settings.append(word)
    return Words(tuple(flags), tuple(settings))
