"""Where samples come from: each source becomes WebDataset tars, one list to train on and named held-out ones."""

from ldc.data.sources.base import Source, SourceTars
from ldc.data.sources.emoji import Emoji
from ldc.data.sources.folder import Folder
from ldc.data.sources.shards import Shards

__all__ = ["Emoji", "Folder", "Shards", "Source", "SourceTars"]
