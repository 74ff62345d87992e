"""What a criterion of depth pruning is.

Legend: S sequences, L tokens, N blocks.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

Tick = Callable[[int], Any]  # told of units of work done


class Scored(NamedTuple):
    """Scores by place; `base` is what the model without any block left out has, where the criterion measures that."""

    scores: dict[int, float]
    base: float | None = None


class Criterion(Protocol):
    """Gives blocks scores; the lower, the less a block is thought to matter."""

    name: ClassVar[str]
    needs_data: ClassVar[bool]

    def work(self, model: Any, ids: Tensor | None, places: Sequence[int]) -> int:
        """Returns how many units `score` tells of, for a progress bar."""
        ...

    def score(
        self, model: Any, ids: Tensor | None, places: Sequence[int], removed: Collection[int], tick: Tick
    ) -> Scored:
        """Returns the scores of the blocks at `places`; the model is left as it was.

        Args:
            model: a causal language model.
            ids: calibration tokens (S, L) on the model's device.
            places: of the blocks to score, each its index in the unedited model.
            removed: blocks that are taken for gone.
            tick: told of units of work done.
        """
        ...


def check_batch_size(value: Any, name: str = "batch_size") -> None:
    """Raises ValueError for a number of sequences, or of blocks, that is no whole number from 1."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, not {value!r}.")
