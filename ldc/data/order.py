"""The endless training stream: which sample stands at which position, and which positions a rank reads.

Legend: n samples, b samples in a rank's batch, G = b x world size samples in a global batch.

Position p is place p % n of epoch p // n, and the order of an epoch is a permutation drawn from (seed, epoch). So the
stream does not depend on ranks, workers or batch sizes, nothing is dropped where an epoch ends, and resuming needs one
number: the samples consumed so far.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ldc.randomness import permutation

EPOCHS_KEPT = 2  # a batch may span two epochs


class StreamOrder:
    """The sample at each position of the endless stream over `size` samples.

    An epoch's permutation takes 8 bytes a sample; the last two are kept.

    Raises:
        ValueError: there is no sample to order.
    """

    def __init__(self, size: int, seed: int):
        if size < 1:
            raise ValueError(f"size must be at least one sample, not {size}.")
        self.size = size
        self.seed = seed
        self._epochs: dict[int, np.ndarray] = {}

    def __call__(self, position: int) -> int:
        """Returns the index of the sample, in [0, size), at a position of the stream."""
        epoch, place = divmod(int(position), self.size)
        if epoch not in self._epochs:
            self._epochs[epoch] = permutation(self.seed, "order", epoch, self.size)
            for stale in list(self._epochs)[:-EPOCHS_KEPT]:
                del self._epochs[stale]
        return int(self._epochs[epoch][place])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_epochs": {}}  # workers draw the permutations themselves


class StreamBatchSampler(Sampler[list[int]]):
    """Yields one rank's batches of positions; batch k of rank r is consumed + k G + r b ... + b - 1.

    The length counts the whole fit, finished batches included, while iterating yields only those that are left: that
    is what Lightning's loop expects of a sized loader when it resumes, as it goes on counting from the checkpoint.

    Args:
        n: samples in the data.
        batch_size: b.
        consumed: samples of the stream that all ranks together have already taken.
        num_batches: a rank's batches in the whole fit.
        finished: a rank's batches done before; by default consumed / G. It differs when G has changed meanwhile.

    Raises:
        ValueError: a size is below one, the rank is outside the world, or more is finished than there is.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        rank: int,
        world_size: int,
        seed: int,
        consumed: int,
        num_batches: int,
        finished: int | None = None,
    ):
        if n < 1 or batch_size < 1:
            raise ValueError(f"n and batch_size must be at least 1, not {n} and {batch_size}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), not {rank}.")
        self.order = StreamOrder(n, seed)
        self.batch_size = batch_size
        self.rank = rank
        self.global_batch = batch_size * world_size
        self.consumed = consumed
        self.num_batches = num_batches
        self.finished = consumed // self.global_batch if finished is None else finished
        if not 0 <= self.finished <= num_batches:
            raise ValueError(f"finished batches must be in [0, {num_batches}], not {self.finished}.")

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        first = self.consumed + self.rank * self.batch_size
        for k in range(self.num_batches - self.finished):
            start = first + k * self.global_batch
            yield list(range(start, start + self.batch_size))
