"""How much a pruner takes out: so many units, so large a share of the parameters, or down to so many parameters.

The minimality rule: the fewest units, taken in the criterion's order, that meet the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Budget:
    """One of three ways to say how much goes; pruners' settings call the first `num_removed`.

    Args:
        count: units that go.
        ratio: share of all of the model's parameters, in (0, 1), that goes at least.
        params: parameters of the whole model that stay at most.

    Raises:
        ValueError: none or several are given, or one is out of its range.
    """

    count: int | None = None
    ratio: float | None = None
    params: int | None = None

    def __post_init__(self) -> None:
        fields = {"num_removed": self.count, "ratio": self.ratio, "params": self.params}
        given = [f"{name}={value}" for name, value in fields.items() if value is not None]
        if len(given) != 1:
            others = ": set the others to null" if given else ""
            raise ValueError(
                f"the budget must be one of num_removed, ratio and params, not {' and '.join(given) or 'none'}{others}."
            )
        for name, value in (("num_removed", self.count), ("params", self.params)):
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a whole number from 1, not {value!r}.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(f"ratio must be between 0 and 1, not {self.ratio!r}.")

    def is_met(self, num_removed: int, removed_params: int, total: int) -> bool:
        """Tells whether units of so many parameters are enough to take out of a model of `total` parameters."""
        if self.count is not None:
            return num_removed >= self.count
        if self.ratio is not None:
            return removed_params >= self.ratio * total
        assert self.params is not None  # noqa: S101 - one of three, says __post_init__
        return total - removed_params <= self.params

    def units(self, costs: Sequence[int], total: int, among: str = "units") -> int:
        """Returns how many units go.

        Args:
            costs: parameters of each candidate, in the order in which they go.
            total: parameters of the whole model.
            among: what the candidates are called in a message, as "the blocks between ...".

        Raises:
            ValueError: all candidates together are not enough, or the budget is met without any.
        """
        if self.params is not None and self.params >= total:
            raise ValueError(f"params must be below the model's {total}, not {self.params}.")
        sums = list(accumulate(costs, initial=0))
        for number, removed in enumerate(sums):
            if self.is_met(number, removed, total):
                return number
        raise ValueError(self._beyond(len(costs), sums[-1], total, among))

    def _beyond(self, most: int, removable: int, total: int, among: str) -> str:
        if self.count is not None:
            return f"num_removed must be at most {most}, the number of {among}, not {self.count}."
        all_of_them = f"where all {most} {among} go"
        if self.ratio is not None:
            return f"ratio must be at most {removable / total:.4f}, {all_of_them}, not {self.ratio:g}."
        return f"params must be at least {total - removable}, {all_of_them}, not {self.params}."
