"""Where a step begins and ends among its micro-batches."""

from typing import Any


def is_accumulating(trainer: Any) -> bool:
    """Tells whether the step goes on after this micro-batch.

    DeepSpeed counts micro-batches itself, so under it Lightning calls the hooks of the optimizer's step after each one.
    """
    return trainer.fit_loop._should_accumulate()  # noqa: SLF001 - Lightning has no public word for it
