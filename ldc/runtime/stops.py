"""SIGTERM and SIGUSR1 while a command does not train: it ends at once, and its SLURM job may be queued again.

A fit has handlers of its own, which save its state first. Other stages keep what is whole of their work, or nothing.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from omegaconf import DictConfig

from ldc.runtime.ranks import is_rank_zero

NUMBERS = (signal.SIGTERM, signal.SIGUSR1)
EXIT_CODES = tuple(128 + number for number in (signal.SIGINT, *NUMBERS))
_SECONDS_UNTIL_AGAIN = 0.05
log = logging.getLogger(__name__)


class Stopped(SystemExit):
    """The command was told to stop while it did not train; the exit code is 128 + the signal's number."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.number = number


@contextmanager
def stoppable(cfg: DictConfig) -> Iterator[None]:
    """Turns SIGTERM and SIGUSR1 inside `with` into Stopped, so that files and programs are closed in order."""
    before: dict[int, Any] = {}
    hook = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, _stop) for number in NUMBERS}
        sys.unraisablehook = partial(_stop_again, hook)
    try:
        try:
            yield
        finally:  # what a dropped Stopped has set may not outlive the command: it would kill a process that is done
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Stopped as stop:
        log.warning("%s while nothing trained.", signal.Signals(stop.number).name)
        if is_rank_zero() and _requeues(stop.number, cfg.get("trainer") or {}):
            from ldc.training.preemption import requeue  # noqa: PLC0415 - a wrong key is answered before libraries load

            requeue()
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def ignore_notices() -> None:
    """Lets SIGUSR1 pass before and after a command's work, in a process of its own.

    SLURM's notice finds nothing to save there, while by default it would kill the process: Python takes a second to
    leave, and a job whose work is done would end as failed.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _stop(number: int, frame: Any) -> None:  # noqa: ARG001 - the contract of handlers
    for each in NUMBERS:
        signal.signal(each, _pass)  # srun sends SIGTERM when another rank ends first: it may not cut off the requeueing
    raise Stopped(number)


def _stop_again(otherwise: Callable[[Any], object], ignored: Any) -> None:
    """Raises Stopped once more where it fell into a finaliser or a weak reference's callback: Python drops it there."""
    stop = ignored.exc_value
    if not isinstance(stop, Stopped):
        otherwise(ignored)
        return

    def raise_it(number: int, frame: Any) -> None:  # noqa: ARG001 - the contract of handlers
        raise Stopped(stop.number)

    signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_UNTIL_AGAIN)  # by then that callback has ended


def _pass(number: int, frame: Any) -> None:
    """Does nothing: the command ends already."""


def _requeues(number: int, trainer: Any) -> bool:
    also = number == signal.SIGUSR1 or trainer.get("requeue_on_sigterm", False)
    return bool(also and trainer.get("requeue", False))
