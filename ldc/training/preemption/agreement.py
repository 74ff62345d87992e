"""Lets all ranks learn at the same step that one of them must stop, without any rank ever waiting for the others."""

from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ldc.training.preemption.causes import Cause


class Agreement:
    """The largest cause among ranks: one byte each, reduced by gloo on the CPU beside the training, read a step late.

    By the time it is read, every rank has taken part in the step's gradients and so has sent its byte: what is read is
    there. The group is the agreement's own, so its messages keep apart from the strategy's, whatever their order. All
    ranks must make it, and call it, in the same places.

    Args:
        world_size: number of ranks.
        timeout: how long a rank waits for the others' answers; None: as long as gloo does by itself, half an hour.
    """

    def __init__(self, world_size: int, timeout: timedelta | None = None) -> None:
        self._group: Any = distributed.new_group(backend="gloo", timeout=timeout) if world_size > 1 else None
        self._pending: tuple[Any, Tensor] | None = None

    def exchange(self, own: Cause) -> Cause:
        """Sends this rank's cause on its way, and returns what all ranks agreed on from the call before.

        One rank alone agrees with itself at once.
        """
        if self._group is None:
            return own
        agreed = self._read()
        if agreed is Cause.NONE:
            self._send(own)
        return agreed

    def settle(self, own: Cause) -> Cause:
        """Returns what all ranks agree on, this call's causes among them; it waits for all, so it is not for steps."""
        if self._group is None:
            return own
        earlier = self._read()
        self._send(max(own, earlier))
        return self._read()

    def close(self) -> None:
        """Gives the group back; where ranks have failed, nothing waits for them."""
        if self._group is not None:
            distributed.destroy_process_group(self._group)
        self._group = self._pending = None

    def _send(self, own: Cause) -> None:
        byte = torch.tensor([own], dtype=torch.uint8)
        work = distributed.all_reduce(byte, distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = (work, byte)

    def _read(self) -> Cause:
        if self._pending is None:
            return Cause.NONE
        (work, byte), self._pending = self._pending, None
        work.wait()
        return Cause(byte.tolist()[0])
