"""Makes free text legal on Hydra's command line, and folders legal where a config group is named.

Hydra parses the right side of `key=value`, so a comma, a quote or a parenthesis in a prompt would be grammar. The entry
points quote the keys whose value is text, and turn `teacher=FOLDER` into the `custom` teacher with that path.
"""

import re
from collections.abc import Sequence
from pathlib import Path

FREE_TEXT = ("prompt", "out", "student", "init_image", "resume", "prompts_file", "data.path", "teacher.path_or_id")


def quote(text: str) -> str:
    """Returns `text` as one quoted Hydra value that stands for exactly this string, interpolations included."""
    # OmegaConf: a dollar-brace is an interpolation unless a backslash precedes it, and then backslashes before it count double.
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    # Hydra: inside single quotes only a quote is escaped, and backslashes that stand before a quote (or the end) count double.
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", literal)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def legalise(arguments: Sequence[str], conf: Path, free_text: Sequence[str] = FREE_TEXT) -> list[str]:
    """Returns the command line's arguments with free text quoted and teacher folders resolved."""
    legal = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key == "teacher" and not (conf / "teacher" / f"{value}.yaml").is_file() and _is_location(value):
            legal += ["teacher=custom", f"teacher.path_or_id={quote(value)}"]
        elif equals and key.lstrip("+") in free_text:
            legal.append(f"{key}={quote(value)}")
        else:
            legal.append(argument)
    return legal


def _is_location(value: str) -> bool:
    """Tells a folder or a hub id from a misspelt teacher name, and leaves sweeps (`teacher=a,b`) to Hydra."""
    return "/" in value or Path(value).is_dir()
