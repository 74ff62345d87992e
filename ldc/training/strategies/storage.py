"""Reads and writes a sharded checkpoint: a folder to which every rank writes its parts, and rank zero the rest.

torch.distributed.checkpoint stores each tensor by name with the place of every chunk, so that another number of ranks
reads what it needs. All ranks must call these functions together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata

from ldc.training.strategies.fragments import Fragment

REST = "meta.pt"


class SavePlanner(DefaultSavePlanner):
    """torch's planner, which looks for fragments of tensors among subclasses of Tensor only."""

    def lookup_object(self, index: MetadataIndex) -> Any:
        found = self.state_dict[index.fqn]
        return found.values if isinstance(found, Fragment) else super().lookup_object(index)


class LoadPlanner(DefaultLoadPlanner):
    """The same for reading, without the changes that torch makes to nested states and meta tensors."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        self.flatten_state_dict = False
        self.state_dict, self.metadata, self.is_coordinator = state_dict, metadata, is_coordinator

    def lookup_tensor(self, index: MetadataIndex) -> Any:
        found = self.state_dict[index.fqn]
        return found.values if isinstance(found, Fragment) else super().lookup_tensor(index)


def save(tensors: Mapping[str, Any], rest: Mapping[str, Any], folder: Path) -> None:
    """Writes this rank's tensors, and on rank zero what is the same on all ranks."""
    dcp.save(dict(tensors), checkpoint_id=folder, planner=SavePlanner())
    if torch.distributed.get_rank() == 0:
        torch.save(dict(rest), folder / REST)


def shapes(folder: Path) -> dict[str, torch.Size]:
    """Returns the whole shapes of all tensors in a checkpoint by name."""
    stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    return {name: entry.size for name, entry in stored.items() if isinstance(entry, TensorStorageMetadata)}


def read_rest(folder: Path) -> dict[str, Any]:
    """Returns what rank zero wrote.

    Raises:
        ValueError: the path is not a checkpoint of this form.
    """
    if not (folder / REST).is_file():
        raise ValueError(f"resume must be a sharded checkpoint, whose folder holds {REST}, but {folder} does not.")
    return torch.load(folder / REST, map_location="cpu", weights_only=True)


def load(tensors: Mapping[str, Any], folder: Path) -> None:
    """Reads a checkpoint's values into the tensors, in place."""
    dcp.load(dict(tensors), checkpoint_id=folder, planner=LoadPlanner())
