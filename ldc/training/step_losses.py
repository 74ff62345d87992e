"""The named losses of a step's micro-batches, and their mean over all micro-batches and ranks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class StepLosses:
    """Collects micro-batches' losses on the device until `mean` is asked for.

    A micro-batch's weight is the number of what its means are over, such as labels; None: all weigh the same.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []  # (names,) float32 each
        self._weights: list[Tensor] = []

    def add(self, losses: Mapping[str, Tensor], weight: Tensor | None = None) -> None:
        """Takes in one micro-batch's losses, scalars."""
        self._names = list(losses)
        self._rows.append(torch.stack([losses[name].float() for name in self._names]))
        if weight is not None:
            self._weights.append(weight.float())

    def mean(self, reduce: Callable[..., Any]) -> dict[str, float]:
        """Returns the mean by name, {} where nothing was added, and forgets; `reduce` is a strategy's."""
        rows, weights, self._rows, self._weights = self._rows, self._weights, [], []
        if not rows:
            return {}
        if not weights:
            values = reduce(torch.stack(rows).mean(0), reduce_op="mean").tolist()
        else:
            shares = torch.stack(weights)  # (micro-batches,)
            sums = (torch.stack(rows) * shares[:, None]).sum(0)
            of_all = reduce(torch.cat([sums, shares.sum().view(1)]), reduce_op="mean")
            values = (of_all[:-1] / of_all[-1]).tolist()  # NaN where nothing weighs: the finite check stops the fit
        return dict(zip(self._names, values, strict=True))
