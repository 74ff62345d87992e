"""Where text comes from: each source gives documents with a key and a split."""

from ldc.data.text.sources.base import Document, TextSource, Unit
from ldc.data.text.sources.files import TextFiles
from ldc.data.text.sources.king_james import KingJames
from ldc.data.text.sources.mixture import Mixture
from ldc.data.text.sources.pydoc import PydocTopics

__all__ = ["Document", "KingJames", "Mixture", "PydocTopics", "TextFiles", "TextSource", "Unit"]
