"""Names the rank that is lost, and stops the others within a bounded time, whatever their library does about it.

gloo fails at once where a process dies, and does not say which; NCCL waits until its timeout, minutes later.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from torch.distributed import DistNetworkError, DistStoreError

from ldc.training.heartbeat import LostRankError, Signs, Watch, clear, is_broken_connection, sentence

LOOKS = 12  # without a new sign, and a rank is lost
LOOKS_AFTER_AN_ERROR = 3  # the connection is broken already
log = logging.getLogger(__name__)


class Heartbeat(Callback):
    """Gives a sign of life in the stage's folder and watches the next rank's, in a thread: no step waits for it.

    Where a collective operation fails, all signs are looked at for a while, and `naming` raises who is silent or has
    stopped. Where it hangs instead, the thread ends the process: nothing in Python reaches a thread that waits inside
    NCCL. Before, while the group forms, the strategy's timeout bounds the wait. A rank that leaves in order takes its
    sign away. With one rank, or ranks that see different folders, it does nothing.

    Args:
        folder: the stage's folder.
        patience_seconds: silence after which a rank is lost; signs are given twelve times as often.
    """

    def __init__(self, folder: Path | str, patience_seconds: float = 60.0):
        self.folder = Path(folder)
        self.interval = patience_seconds / LOOKS
        self.loss: str | None = None
        self._signs: Signs | None = None
        self._ranks: list[int] = []  # the others, the next one first
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if trainer.world_size == 1:
            return
        if trainer.is_global_zero:
            clear(self.folder)
        life = trainer.strategy.broadcast(os.urandom(8).hex())  # the others come here after the folder was cleared
        rank, size = trainer.global_rank, trainer.world_size
        self._ranks = [(rank + step) % size for step in range(1, size)]
        self._signs = Signs(self.folder, rank, life)
        self._signs.give()
        trainer.strategy.barrier("Heartbeat.setup")
        self._over.clear()
        self._thread = threading.Thread(target=self._beat, args=(self._signs,), name="heartbeat", daemon=True)
        self._thread.start()

    def _beat(self, signs: Signs) -> None:
        watch = Watch(signs, self._ranks[:1])
        while not self._over.wait(self.interval):
            signs.give()
            watch.look()
            loss = signs.loss() or self._judge(watch, LOOKS)
            if loss is None:
                continue
            signs.tell_loss(loss)
            # The training's own thread is given the time to fail and to say so itself.
            if not self._over.wait(LOOKS_AFTER_AN_ERROR * self.interval):
                log.error("%s", loss)
                logging.shutdown()
                os._exit(LostRankError.exit_code)

    def _judge(self, watch: Watch, looks: int) -> str | None:
        stopped, silent = watch.stopped(), watch.silent(looks)
        return sentence(stopped, silent, looks * self.interval) if stopped or silent else None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._signs is None:
            return
        self._stop()
        if is_broken_connection(exception):
            self.loss = self._explain(self._signs)
        if isinstance(exception, Exception):
            self._signs.give(stopped=" ".join((self.loss or f"{type(exception).__name__}: {exception}").split()))
        else:  # told to stop
            self._signs.leave()

    def _explain(self, signs: Signs) -> str | None:
        watch = Watch(signs, self._ranks)
        for looks in range(LOOKS_AFTER_AN_ERROR + 1):
            loss = signs.loss() or self._judge(watch, LOOKS_AFTER_AN_ERROR)
            if loss or looks == LOOKS_AFTER_AN_ERROR:
                break
            time.sleep(self.interval)
            signs.give()
            watch.look()
        if loss:
            signs.tell_loss(loss)
        return signs.loss() or loss

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._stop()
        if self._signs is not None:
            self._signs.leave()
        self._signs = None

    def _stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Raises LostRankError in the place of an error that came from the loss of another rank."""
        self.loss = None
        try:
            yield
        except Exception as error:
            if self._signs is None and isinstance(error, DistNetworkError | DistStoreError):
                reason = str(error).splitlines()[0].rstrip(".")
                raise LostRankError(f"all ranks must join the group in time, but they have not: {reason}.") from error
            if self.loss is None:
                raise
            raise LostRankError(self.loss) from error
