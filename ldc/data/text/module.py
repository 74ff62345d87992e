"""LightningDataModules of text over the endless stream: windows of packed tokens, and instructions with answers."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from ldc.data.module import StreamDataModule
from ldc.data.text.batch import TokenBatch
from ldc.data.text.instruction_stream import InstructionStream, padding_id, split_instructions
from ldc.data.text.instructions import Instructions, InstructionTokens
from ldc.data.text.tokens import PackedTokens
from ldc.data.text.windows import TokenWindows

log = logging.getLogger(__name__)


class TokenDataModule(StreamDataModule):
    """Batches of windows of packed text, TokenBatch.

    Args:
        folder: what `encode_texts` made.
        batch_size: windows in one rank's batch.
        seed: of the order.
        length: tokens of a window.
        num_workers: loader processes.
    """

    def __init__(self, folder: Path | str, batch_size: int, seed: int, *, length: int, num_workers: int = 0):
        super().__init__(batch_size, seed, num_workers)
        self.packed = PackedTokens(folder)
        self.length = length
        self.windows = TokenWindows(self.packed.stream("train"), length, seed)

    @property
    def size(self) -> int:
        """Windows to train on."""
        return self.windows.size

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(self.windows, self.windows.collate, consumed, finished, num_batches)

    def held_out(
        self, batch_size: int | None = None, limit: int | None = None, part: str | None = None
    ) -> Iterator[TokenBatch]:
        """Yields the held-out windows in order; their positions are their numbers.

        Args:
            batch_size: windows in a batch, by default the training's.
            limit: windows in all, at equal distances over the text.
            part: of this part of the text alone, such as kjv.

        Raises:
            ValueError: nothing is held out, or less than a window.
        """
        windows = TokenWindows(self.packed.stream("held_out", part), self.length, name="held-out")
        return windows.in_order(batch_size or self.batch_size, limit)


class InstructionDataModule(StreamDataModule):
    """Batches of instructions with answers, TokenBatch; loss is taken on the answers alone.

    Args:
        instructions: where they come from.
        tokenizer: of transformers.
        batch_size: instructions in one rank's batch.
        seed: of the order.
        cutoff: tokens of an instruction with its answer.
        num_held_out: instructions kept out of training; of a small file no more than a tenth.
        split_seed: of which ones.
        num_workers: loader processes.
    """

    def __init__(
        self,
        instructions: Instructions,
        tokenizer: Any,
        batch_size: int,
        seed: int,
        *,
        cutoff: int = 256,
        num_held_out: int = 2000,
        split_seed: int = 42,
        num_workers: int = 0,
    ):
        super().__init__(batch_size, seed, num_workers)
        if num_held_out < 0:
            raise ValueError(f"num_held_out must not be negative, but it is {num_held_out}.")
        records, template = instructions.records(), instructions.prompts
        trained, held_out = split_instructions(len(records), num_held_out, split_seed)
        self._pad = padding_id(tokenizer)
        tokens = InstructionTokens([records[number] for number in trained], tokenizer, cutoff, template)
        self.stream = InstructionStream(tokens, self._pad, seed)
        kept_out = [records[number] for number in held_out]
        self._held_out = InstructionTokens(kept_out, tokenizer, cutoff, template) if kept_out else None
        log.info(
            "Training on %d instructions of %s, %d held out; %d have no room for an answer within %d tokens.",
            len(tokens),
            instructions.name,
            len(held_out),
            tokens.left_out,
            cutoff,
        )

    @property
    def size(self) -> int:
        """Instructions to train on."""
        return self.stream.size

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(self.stream, self.stream.collate, consumed, finished, num_batches)

    def held_out(
        self, batch_size: int | None = None, limit: int | None = None, part: str | None = None
    ) -> Iterator[TokenBatch]:
        """Yields the held-out instructions in order, as `TokenDataModule.held_out` does windows.

        Raises:
            ValueError: nothing is held out, or a part is asked for.
        """
        if part is not None:
            raise ValueError(f"part must be null for instructions, which have no parts, not {part!r}.")
        if self._held_out is None:
            raise ValueError(
                "instructions must have held-out ones, but none are: num_held_out is 0, or fewer than 10 are."
            )
        return InstructionStream(self._held_out, self._pad, name="held-out").in_order(
            batch_size or self.batch_size, limit
        )
