"""A folder of packed tokens: what packing writes, read at random through memory maps, whatever its size.

manifest.json          written last: a folder that has one is complete
00000.train.bin        token ids of the first unit of text, documents one after the other, EOS behind each
00000.held_out.bin     the same of its held-out documents
00000.json             what stands in them: part, identity, documents and tokens of each split
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ldc.data.manifest import read_manifest
from ldc.data.text.sources.base import SPLITS

SCHEMA = 1


class TokenStream:
    """The tokens of one split, end to end over all files, as one sequence.

    Args:
        files: in order.
        counts: tokens of each.
        dtype: of the ids in the files, uint16 or uint32.
    """

    def __init__(self, files: Sequence[Path], counts: Sequence[int], dtype: str):
        kept = [(file, count) for file, count in zip(files, counts, strict=True) if count]
        self.files = [file for file, _ in kept]
        self.ends = np.cumsum([count for _, count in kept], dtype=np.int64)
        self.dtype = np.dtype(dtype)
        self._maps: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # workers map the files themselves

    def read(self, start: int, length: int) -> np.ndarray:
        """Returns tokens `start` ... `start + length - 1`, (length,) int64.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 <= start <= start + length <= len(self):
            raise ValueError(f"tokens must be in [0, {len(self)}), not {start} ... {start + length - 1}.")
        parts = []
        while length:
            number = int(np.searchsorted(self.ends, start, side="right"))
            file = self._map(number)
            place = start - int(self.ends[number]) + len(file)
            parts.append(file[place : place + length])
            start, length = start + len(parts[-1]), length - len(parts[-1])
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def _map(self, number: int) -> np.ndarray:
        if number not in self._maps:
            self._maps[number] = np.memmap(self.files[number], self.dtype, mode="r")
            expected = int(self.ends[number]) - (int(self.ends[number - 1]) if number else 0)
            if len(self._maps[number]) != expected:
                raise ValueError(f"{self.files[number]} must hold {expected} tokens, not {len(self._maps[number])}.")
        return self._maps[number]


class PackedTokens:
    """A finished folder of packed tokens.

    Attributes:
        manifest: schema, key, source, tokenizer (its fingerprint), vocabulary, eos, dtype, units; and for each split
            documents and tokens.

    Raises:
        ValueError: the folder is not a finished one, or of another schema.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_manifest(self.folder, "packed tokens")
        if self.manifest.get("schema") != SCHEMA or "eos" not in self.manifest:
            raise ValueError(f"{self.folder} must be a folder of packed tokens of schema {SCHEMA}, but it is not.")

    @cached_property
    def parts(self) -> list[str]:
        """The names of the parts of the text, in order."""
        return list(dict.fromkeys(unit["part"] for unit in self.manifest["units"]))

    def stream(self, split: str, part: str | None = None) -> TokenStream:
        """Returns the tokens of a split, of all parts or of one.

        Raises:
            ValueError: there is no such split or part.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be {' or '.join(SPLITS)}, not {split!r}.")
        if part is not None and part not in self.parts:
            raise ValueError(f"part must be one of {', '.join(self.parts)}, not {part!r}.")
        units = [unit for unit in self.manifest["units"] if part in {None, unit["part"]}]
        files = [self.folder / f"{unit['file']}.{split}.bin" for unit in units]
        return TokenStream(files, [unit[split]["tokens"] for unit in units], self.manifest["dtype"])
