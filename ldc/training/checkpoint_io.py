"""Writes checkpoints straight to their file: Lightning's own way first makes a whole copy in memory."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class StreamedCheckpointIO(TorchCheckpointIO):
    """Saves tensor by tensor, so that a checkpoint, which has 9 GiB for BK-SDM's Base with a target, costs no memory.

    A save that is cut short leaves a damaged file: `Checkpoints` gives it a temporary name, and renames it when it is
    whole.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        """Writes the checkpoint.

        Raises:
            TypeError: storage options are given, which a local file does not take.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options must be None for a local file, not {storage_options!r}.")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, path)
