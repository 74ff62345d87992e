"""What was looked at before a run, and what came out: a line each."""

from collections.abc import Callable
from typing import Any, NamedTuple

OK, NOTE, WARNING, FAILED = "ok", "note", "warning", "failed"


class Finding(NamedTuple):
    """One line: `failed` stops a run, `warning` spoils one, `note` is good to know."""

    check: str
    status: str
    text: str


def failure(check: Callable[[], Any]) -> str | None:
    """Returns the sentence by which a check refuses, None where it does not."""
    try:
        check()
    except (ValueError, OSError) as error:
        return " ".join(str(error).split())
    return None


def several(check: str, status: str, found: dict[str, list[str]]) -> list[Finding]:
    """Returns a line for each sentence of {sentence: places where it was said}, the same sentence once."""
    return [Finding(check, status, f"{', '.join(dict.fromkeys(places))}: {text}") for text, places in found.items()]
