"""Random numbers that are a pure function of (seed, purpose, position): no state to save, no rank, no worker.

Every draw that concerns a sample is taken here, so that ranks differ, N ranks equal one, and a resumed run equals a
straight one. `position` is a sample's place in the endless training stream (epoch x size of the data + place in the
epoch's order), so it stands for epoch and place at once. The generator is Philox 4x64 (Salmon et al. 2011), keyed by
seed and purpose, with the position as its counter.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, purpose: str, position: int) -> np.random.Generator:
    """Returns the generator of one (seed, purpose, position)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype=np.uint64)
    # The counter's top word holds the position; Philox counts up in the lowest word: streams never overlap.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, position]))


def _positions(positions: Tensor | Sequence[int]) -> list[int]:
    return positions.tolist() if isinstance(positions, Tensor) else list(positions)


def on_device(draws: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Returns draws on the device of `like`, in `dtype` where one is given, without waiting for that device.

    A plain copy to a GPU waits until all its queued work is done, so each step would start on an idle device.
    """
    if like.device.type == "cuda":
        draws = draws.pin_memory()
    return draws.to(like.device, draws.dtype if dtype is None else dtype, non_blocking=True)


def normal(seed: int, purpose: str, positions: Tensor | Sequence[int], shape: Sequence[int]) -> Tensor:
    """Returns standard normal float32 draws, (B, *shape), on the CPU."""
    draws = [generator(seed, purpose, p).standard_normal(tuple(shape), dtype=np.float32) for p in _positions(positions)]
    return torch.from_numpy(np.stack(draws)) if draws else torch.empty(0, *shape)


def uniform(seed: int, purpose: str, positions: Tensor | Sequence[int]) -> Tensor:
    """Returns float64 draws in [0, 1), (B,), on the CPU."""
    return torch.tensor([generator(seed, purpose, p).random() for p in _positions(positions)], dtype=torch.float64)


def integers(seed: int, purpose: str, positions: Tensor | Sequence[int], high: int) -> Tensor:
    """Returns int64 draws in [0, high), (B,), on the CPU."""
    draws = [int(generator(seed, purpose, p).integers(high)) for p in _positions(positions)]
    return torch.tensor(draws, dtype=torch.int64)


def permutation(seed: int, purpose: str, epoch: int, size: int) -> np.ndarray:
    """Returns the order of one epoch: a permutation of range(size), int64."""
    return generator(seed, purpose, epoch).permutation(size)
