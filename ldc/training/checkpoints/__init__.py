"""Two-phase checkpoints: made under a temporary name, described by a manifest, committed by a rename."""

from ldc.training.checkpoints.agreement import SaveError
from ldc.training.checkpoints.file_io import StreamedCheckpointIO
from ldc.training.checkpoints.manifest import Manifest, damage, read
from ldc.training.checkpoints.resume import again, checkpoint_at, find_checkpoint
from ldc.training.checkpoints.saving import Saver
from ldc.training.checkpoints.store import FOLDER, STATE, Store, folders, newest

__all__ = [
    "FOLDER",
    "STATE",
    "Manifest",
    "SaveError",
    "Saver",
    "Store",
    "StreamedCheckpointIO",
    "again",
    "checkpoint_at",
    "damage",
    "find_checkpoint",
    "folders",
    "newest",
    "read",
]
