"""What all ranks do together, so that an error on one stops all of them: alone, the others would wait without end."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from lightning.pytorch import Trainer
from torch.distributed.checkpoint.api import CheckpointException

T = TypeVar("T")
_OF_SAVING = (OSError, RuntimeError, CheckpointException)  # what writing raises; others have a message of their own


class SaveError(OSError):
    """A checkpoint could not be saved; those before it are as they were."""


def together(trainer: Trainer, work: Callable[[], T], sentence: Callable[[BaseException], str]) -> list[T]:
    """Returns what the work gave on every rank, by rank.

    Raises:
        SaveError: on all ranks, where the work failed on one; its message is the sentence about the first error.
    """
    error: BaseException | None = None
    result, problem = None, None
    try:
        result = work()
    except (Exception, CheckpointException) as caught:  # noqa: BLE001 - told to all ranks, and raised below
        error, problem = caught, _told(caught, sentence)
    outcomes = gathered(trainer, (problem, result))
    if error is not None and not isinstance(error, _OF_SAVING):
        raise error
    problems = [problem for problem, _ in outcomes if problem is not None]
    if problems:
        raise SaveError(problems[0]) from error
    return [cast(T, result) for _, result in outcomes]


def _told(error: BaseException, sentence: Callable[[BaseException], str]) -> str:
    try:
        return sentence(error)
    except OSError:  # it looks at the disk, which may be what has failed: the others must be told all the same
        return str(error) or type(error).__name__


def gathered(trainer: Trainer, item: T) -> list[T]:
    """Returns every rank's item, by rank."""
    if trainer.world_size == 1:
        return [item]
    items: list[T] = [item] * trainer.world_size
    torch.distributed.all_gather_object(items, item)
    return items
