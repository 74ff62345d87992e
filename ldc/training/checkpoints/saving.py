"""One save by all ranks: they write, each hashes its share of the files, and rank 0 commits them."""

import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from ldc.training.checkpoints.agreement import together
from ldc.training.checkpoints.background import Background
from ldc.training.checkpoints.durable import sync_tree
from ldc.training.checkpoints.file_io import StreamedCheckpointIO
from ldc.training.checkpoints.manifest import Entry, Manifest, contents, damage, entry
from ldc.training.checkpoints.space import is_full, require_space, tensor_bytes
from ldc.training.checkpoints.store import STATE, Store, folders
from ldc.training.strategies.fragments import Fragment
from ldc.training.strategies.sharded import Sharded

_SHARDING = (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)  # all their ranks write, not through an IO plugin
log = logging.getLogger(__name__)


class Saver:
    """Saves a trainer's state into a store; every rank calls every method, at the same step boundaries.

    Args:
        asynchronous: take a copy in host memory at the step boundary and write it beside the training. At most one is
            in flight.
    """

    def __init__(self, store: Store, *, asynchronous: bool = False):
        self.store = store
        self.asynchronous = asynchronous
        self._background = Background()
        self._in_flight: int | None = None  # the step that is being written beside the training, known on all ranks

    def check(self, trainer: Trainer) -> None:
        """Raises ValueError where the strategy's checkpoints cannot be written beside the training."""
        if self.asynchronous and not writes_one_file(trainer):
            name = type(trainer.strategy).__name__
            raise ValueError(f"async_checkpoints must be false for {name}, of which all ranks write, not true.")

    def save(self, trainer: Trainer, *, wait: bool) -> None:
        """Saves the present step; with `wait` it is committed on return, else it may be in flight.

        Raises:
            SaveError: on all ranks, where it or the one in flight could not be saved.
        """
        self.settle(trainer, wait=True)
        step = trainer.global_step
        try:
            together(trainer, partial(self._begin, trainer), self._sentence(step))
            if self.asynchronous and not wait:
                self._start(trainer)
            else:
                known = self._write(trainer)
                together(trainer, partial(self._commit, trainer, known), self._sentence(step))
        except BaseException:
            if trainer.is_global_zero:
                self.store.discard(step)
            raise

    def settle(self, trainer: Trainer, *, wait: bool) -> None:
        """Raises SaveError on all ranks where the checkpoint in flight could not be saved.

        Args:
            wait: for its end; else look only whether it has ended.
        """
        if self._in_flight is None or (not wait and trainer.strategy.broadcast(self._background.is_running())):
            return
        step, self._in_flight = self._in_flight, None
        together(trainer, self._background.finish, self._sentence(step))

    def abandon(self) -> None:
        """Lets the checkpoint in flight end where the training has failed, whose error is the one to raise."""
        step, self._in_flight = self._in_flight, None
        try:
            self._background.finish()
        except (OSError, RuntimeError) as error:
            log.warning("%s", self._sentence(step or 0)(error))

    def _begin(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self.store.begin(trainer.global_step)

    def _write(self, trainer: Trainer) -> dict[str, Entry]:
        """Writes the state below the temporary folder; returns the files whose hashes are known already."""
        temporary, sentence = self.store.temporary(trainer.global_step), self._sentence(trainer.global_step)
        if writes_one_file(trainer):
            together(trainer, partial(dump, trainer, temporary / STATE), sentence)
            io: Any = trainer.strategy.checkpoint_io
            return {STATE: io.entries.pop(temporary / STATE)} if trainer.is_global_zero else {}
        size = math.fsum(together(trainer, partial(local_bytes, trainer), sentence))
        together(trainer, partial(require_space, temporary, int(size)), sentence)
        together(trainer, partial(dump, trainer, temporary / STATE), sentence)
        shares = together(trainer, partial(share, trainer, temporary), sentence)
        return {name: known for part in shares for name, known in part.items()}

    def _commit(self, trainer: Trainer, known: dict[str, Entry]) -> None:
        if trainer.is_global_zero:
            temporary = self.store.temporary(trainer.global_step)
            names = {str(path.relative_to(temporary)): path for path in contents(temporary)}
            files = {name: known.get(name) or entry(path) for name, path in names.items()}
            self.store.commit(describe(trainer, files))

    def _start(self, trainer: Trainer) -> None:
        """Takes a copy of the state in host memory, and has it written and committed by a thread of rank 0."""
        step, io = trainer.global_step, cast(StreamedCheckpointIO, trainer.strategy.checkpoint_io)  # see `check`
        io.holds = True
        try:
            together(trainer, partial(dump, trainer, self.store.temporary(step) / STATE), self._sentence(step))
        finally:
            io.holds = False
        self._in_flight = step
        if trainer.is_global_zero:
            self._background.start(partial(self._finish, io, describe(trainer, {})))

    def _finish(self, io: StreamedCheckpointIO, manifest: Manifest) -> None:
        path, (held, io.held) = self.store.temporary(manifest.step) / STATE, (io.held, None)
        try:
            io.write(held or {}, path)
            self.store.commit(replace(manifest, files={STATE: io.entries.pop(path)}))
        except BaseException:
            self.store.discard(manifest.step)
            raise

    def _sentence(self, step: int) -> Any:
        return partial(sentence, self.store, step)


def writes_one_file(trainer: Trainer) -> bool:
    """Tells whether rank 0 alone writes checkpoints, through the plugin that hashes on the way."""
    strategy = trainer.strategy
    return not isinstance(strategy, _SHARDING) and isinstance(strategy.checkpoint_io, StreamedCheckpointIO)


def dump(trainer: Trainer, path: Path) -> None:
    """Has the strategy write its state; an error comes out only when all ranks have done their part."""
    try:
        trainer.save_checkpoint(path)
    except (Exception, CheckpointException):
        trainer.strategy.barrier()  # the one at the end of save_checkpoint, where the other ranks wait
        raise


def local_bytes(trainer: Trainer) -> int:
    """Returns the bytes that this rank will write: its shards, and on rank 0 what all ranks have alike."""
    strategy = trainer.strategy
    if not isinstance(strategy, Sharded):
        return 0  # another's strategy: its errors will have to do
    size = 0
    for value in strategy.shards().values():
        if isinstance(value, Fragment):
            size += tensor_bytes(value.values)
        elif isinstance(value, DTensor) or trainer.is_global_zero:
            size += tensor_bytes(value)
    return size


def share(trainer: Trainer, folder: Path) -> dict[str, Entry]:
    """Hashes this rank's share of a folder's files; one rank of every machine puts what it wrote on the disk."""
    if trainer.local_rank == 0:
        sync_tree(folder)
    mine = list(contents(folder))[trainer.global_rank :: trainer.world_size]
    return {str(path.relative_to(folder)): entry(path) for path in mine}


def describe(trainer: Trainer, files: dict[str, Entry]) -> Manifest:
    """Returns the manifest of the present step."""
    micro = getattr(getattr(trainer, "datamodule", None), "batch_size", None)  # samples of one rank at a time
    return Manifest(
        step=trainer.global_step,
        samples_seen=getattr(trainer.lightning_module, "samples_seen", 0),
        world_size=trainer.world_size,
        batch_size=micro and micro * trainer.accumulate_grad_batches * trainer.world_size,
        sharded=not writes_one_file(trainer),
        files=files,
    )


def sentence(store: Store, step: int, error: BaseException) -> str:
    """Returns what a user is told of a checkpoint that could not be saved."""
    if isinstance(error, CheckpointException):  # its own message is a traceback
        error = next(iter(error.failures.values()))[0]
    whole = [path for path in folders(store.folder.parent).values() if damage(path, hashes=False) is None]
    last = f"the last good one is {whole[-1]}" if whole else "there is none before it"
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    if is_full(error, store.folder.parent):
        return (
            f"{store.folder} must have room for the checkpoint of step {step}, but the disk is full ({reason}); {last}."
        )
    return f"the checkpoint of step {step} must be written to {store.folder}, but that failed: {reason}; {last}."
