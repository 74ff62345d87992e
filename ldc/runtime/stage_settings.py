"""Refusals that name a stage's setting: the stage itself does not know what it is called in its experiment."""

from collections.abc import Iterator
from contextlib import contextmanager


class StageSettingError(ValueError):
    """A refusal whose sentence begins with a setting's key in its stage; `chain` puts the stage's place before it."""


@contextmanager
def stage_settings(group: str | None = None) -> Iterator[None]:
    """Says of refusals inside `with` that their sentences begin with a key of a stage's settings, or of this group."""
    try:
        yield
    except ValueError as error:
        raise StageSettingError(str(error) if group is None else f"{group}.{error}") from error
