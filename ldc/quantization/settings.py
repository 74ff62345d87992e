"""What GPTQ is told: bits, group size, order; and which group size fits a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

CHANNEL = "channel"
PREFERRED = (128, 64)
BITS = (2, 8)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class GptqSettings:
    """Settings of a quantisation; the defaults are the published ones of Shortened LLaMA (AutoGPTQ, 4 bits, act-order).

    Args:
        bits: of each weight, from 2 to 8.
        group_size: input channels that share a scale; "channel": all of a layer; None: 128 where it divides the input
            width of every layer, else 64.
        act_order: the most used input channels are rounded first.
        damp: part of the mean of the Hessian's diagonal that is added to it.
        symmetric: no zero points.
        sequential: within a block too, each layer sees what the quantised layers before it give out, for one pass over
            the calibration data a kind of input; else they see what the unquantised block's give, in one pass.
        other_dtype: in which all other tensors are saved: float16, bfloat16 or float32.

    Raises:
        ValueError: a value is not allowed.
    """

    bits: int = 4
    group_size: int | str | None = None
    act_order: bool = True
    damp: float = 0.01
    symmetric: bool = True
    sequential: bool = True
    other_dtype: str = "float16"

    def __post_init__(self) -> None:
        low, high = BITS
        if not isinstance(self.bits, int) or not low <= self.bits <= high:
            raise ValueError(f"bits must be a whole number from {low} to {high}, not {self.bits!r}.")
        whole = isinstance(self.group_size, int) and not isinstance(self.group_size, bool) and self.group_size > 0
        if not (self.group_size in {None, CHANNEL} or whole):
            raise ValueError(f"group_size must be a whole number from 1, {CHANNEL} or null, not {self.group_size!r}.")
        if type(self.damp) not in {int, float} or not 0 < self.damp <= 1:
            raise ValueError(f"damp must be above 0 and at most 1, not {self.damp!r}.")
        for name in ("act_order", "symmetric", "sequential"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}.")
        if self.other_dtype not in DTYPES:
            raise ValueError(f"other_dtype must be one of {', '.join(DTYPES)}, not {self.other_dtype!r}.")

    @property
    def saved_dtype(self) -> torch.dtype:
        return DTYPES[self.other_dtype]

    def group_for(self, widths: Sequence[int]) -> int | None:
        """Returns the group size for layers of these input widths, None for one group a layer.

        Raises:
            ValueError: it divides not all of them.
        """
        if self.group_size == CHANNEL:
            return None
        wanted = PREFERRED if self.group_size is None else (int(self.group_size),)
        fitting = [size for size in wanted if all(width % size == 0 for width in widths)]
        if not fitting:
            names = ", ".join(map(str, sorted(set(widths))))
            raise ValueError(
                f"group_size must divide the input width of every layer ({names}), not be "
                f"{' or '.join(map(str, wanted))}: choose a divisor, or group_size={CHANNEL}."
            )
        return fitting[0]
