"""Writes a checkpoint's state as one file, straight to the disk: Lightning's own way first makes a copy in memory."""

import copy
import hashlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from ldc.training.checkpoints.manifest import Entry
from ldc.training.checkpoints.space import require_space, tensor_bytes, tensors


class HashedFile:
    """Passes bytes on to a file and hashes them on the way, so that no one has to read them again."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written = self._file.write(data)
        except OSError as error:
            self.error = error  # torch.save raises another one, which does not say why
            raise
        self._hash.update(data)
        self._size += written
        return written

    def flush(self) -> None:
        self._file.flush()

    @property
    def entry(self) -> Entry:
        return Entry(self._size, self._hash.hexdigest())


class StreamedCheckpointIO(TorchCheckpointIO):
    """Saves tensor by tensor, so that a checkpoint, which has 9 GiB for BK-SDM's Base with a target, costs no memory.

    A save that is cut short leaves a damaged file, below a temporary folder that `Store` commits when all is whole.

    Attributes:
        entries: size and hash of the files that were written.
        holds: take a copy of the next checkpoint in host memory, `held`, instead of writing it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[Path, Entry] = {}
        self.holds = False
        self.held: dict[str, Any] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        """Writes the checkpoint, or takes a copy of it.

        Raises:
            TypeError: storage options are given, which a local file does not take.
            OSError: the disk has no room for it.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options must be None for a local file, not {storage_options!r}.")
        if self.holds:
            self.held = on_host(checkpoint)
        else:
            self.write(checkpoint, Path(path))

    def write(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Writes a checkpoint to a file; its size and hash go into `entries`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        require_space(path.parent, tensor_bytes(checkpoint))
        with path.open("wb") as file:
            hashed = HashedFile(file)
            try:
                torch.save(checkpoint, cast(BinaryIO, hashed))
            except RuntimeError:
                if hashed.error is None:
                    raise
                raise hashed.error from None
        self.entries[path] = hashed.entry


def on_host(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy that later steps do not change, all of it in host memory; what shares memory still does."""
    storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}
    copies: dict[int, Any] = {}
    for tensor in tensors(checkpoint):
        if tensor.device.type != "cpu":
            storage = tensor.untyped_storage()
            key = (tensor.device, storage.data_ptr())
            if key not in storages:
                storages[key] = storage.cpu()
            copies[id(tensor)] = as_strided(tensor, storages[key])
    return copy.deepcopy(checkpoint, copies)


def as_strided(tensor: Tensor, storage: torch.UntypedStorage) -> Tensor:
    """Returns a tensor of the same shape, strides and kind of numbers over another storage."""
    empty = torch.empty(0, dtype=tensor.dtype, device=storage.device)
    return empty.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
