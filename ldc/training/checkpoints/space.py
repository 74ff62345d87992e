"""Says whether a checkpoint fits on the disk, and tells a full disk from other errors."""

import errno
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SLACK = 2**20  # bytes for what is no tensor
_FULL = {errno.ENOSPC, errno.EDQUOT}


def tensors(content: Any) -> Iterator[Tensor]:
    """Yields the tensors inside dicts, lists and tuples; of a sharded one this rank's part."""
    if isinstance(content, Tensor):
        yield getattr(content, "_local_tensor", content)
    elif isinstance(content, Mapping):
        yield from tensors(content.values())
    elif isinstance(content, Iterable) and not isinstance(content, str | bytes):
        for item in content:
            yield from tensors(item)


def tensor_bytes(content: Any) -> int:
    """Returns the bytes of all memory that the tensors inside share out among them."""
    storages: dict[Any, int] = {}
    for tensor in tensors(content):
        storage: torch.UntypedStorage = tensor.untyped_storage()
        storages[(tensor.device, storage.data_ptr())] = storage.nbytes()
    return sum(storages.values())


def require_space(folder: Path, size: int) -> None:
    """Raises OSError (ENOSPC) where the disk of a folder has not `size` bytes and a little more."""
    free = shutil.disk_usage(folder).free
    if free < size + SLACK:
        raise OSError(errno.ENOSPC, f"{_mb(size + SLACK)} MB are needed, {_mb(free)} MB are free")


def is_full(error: BaseException, folder: Path) -> bool:
    """Tells whether an error of writing into a folder came from a full disk, however the library has wrapped it."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return "No space left" in str(error) or shutil.disk_usage(folder).free < SLACK


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"
