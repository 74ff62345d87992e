"""A stretch of a flattened tensor, as ZeRO gives it to one rank, in a form that torch's distributed checkpoints take.

A checkpoint then holds each tensor once, flattened, in as many chunks as there were ranks; any other division of it can
be read back.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType


@dataclass(frozen=True)
class Fragment:
    """What this rank holds of a flattened tensor: `values` are elements start ... start + len(values) of `numel`.

    The methods with underscores are torch.distributed.checkpoint's protocol for objects that save and load themselves.
    """

    values: Tensor  # (length,), a view: loading writes through it
    start: int
    numel: int

    def size(self) -> torch.Size:
        """Returns the shape of the whole, flattened."""
        return torch.Size([self.numel])

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [ChunkStorageMetadata(offsets=torch.Size([self.start]), sizes=self.values.size())]

    def __create_write_items__(self, name: str, _object: Any) -> list[WriteItem]:
        (chunk,) = self.__create_chunk_list__()
        properties = TensorProperties.create_from_tensor(self.values)
        data = TensorWriteData(chunk=chunk, properties=properties, size=self.size())
        return [WriteItem(index=MetadataIndex(name, chunk.offsets), type=WriteItemType.SHARD, tensor_data=data)]
