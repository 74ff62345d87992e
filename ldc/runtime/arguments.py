"""Makes free text legal on Hydra's command line, and folders legal where a config group is named.

Hydra parses the right side of `key=value`, so a comma, a quote or a parenthesis in a prompt would be grammar. The entry
points quote the keys whose value is text, and turn `teacher=FOLDER` into the `custom` teacher with that path, or into
`custom_language` where a language model is there.
"""

import re
from collections.abc import Sequence
from pathlib import Path

TEXTS = ("prompt", "overrides")
PATHS = (
    "out",
    "student",
    "init_image",
    "resume",
    "compare",
    "metric",
    "sweep",
    "document",
    "prompts_file",
    "reference",
    "data.path",
    "benchmark.folder",
    "scores",
    "teacher.path_or_id",
    "paths.outputs",
    "paths.cache",
)
_FIRST = ("-m", "--multirun")


def quote(text: str) -> str:
    """Returns `text` as one quoted Hydra value that stands for exactly this string, interpolations included."""
    # OmegaConf: a dollar-brace is an interpolation unless a backslash precedes it; backslashes before that are doubled.
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    # Hydra: inside single quotes only a quote is escaped; backslashes before a quote or the end count double.
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", literal)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def legalise(arguments: Sequence[str], conf: Path) -> list[str]:
    """Returns the command line's arguments with free text quoted and teacher folders resolved.

    A path may be `null`, and `data.path` a Hydra list (`[a.tar,b.tar]`); a prompt is always text. `-m` comes first,
    since Hydra takes no overrides on both sides of it.
    """
    legal = [argument for argument in arguments if argument in _FIRST]
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        if equals and name == "teacher" and not (conf / "teacher" / f"{value}.yaml").is_file() and _is_location(value):
            legal += [f"teacher={_custom(value)}", f"teacher.path_or_id={quote(value)}"]
        elif equals and (name in TEXTS or (name in PATHS and not _is_grammar(name, value))):
            legal.append(f"{key}={quote(value)}")
        elif argument not in _FIRST:
            legal.append(argument)
    return legal


def _is_grammar(name: str, value: str) -> bool:
    return value == "null" or (name == "data.path" and value.startswith("[") and value.endswith("]"))


def _custom(location: str) -> str:
    """Returns the config of teachers that are told by their place: that of language models for their folders and files.

    A hub id is not asked here: `custom` has no settings of its own kind, and what takes it finds out.
    """
    is_file = location.startswith("pypi:") or location.endswith(".gguf")
    folder = Path(location).expanduser()
    is_folder = (folder / "config.json").is_file() and not (folder / "model_index.json").is_file()
    return "custom_language" if is_file or is_folder else "custom"


def _is_location(value: str) -> bool:
    """Tells a folder or a hub id from a misspelt teacher name, and leaves sweeps (`teacher=a,b`) to Hydra."""
    return "/" in value or Path(value).is_dir() or value.endswith(".gguf")
