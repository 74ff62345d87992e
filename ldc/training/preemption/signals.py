"""Notes signals while a fit runs: a handler that did more could come in the midst of an update or a collective."""

import signal
import threading
from contextlib import AbstractContextManager
from typing import Any

from ldc.training.preemption.causes import Cause, Interrupted

NUMBERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Signals(AbstractContextManager["Signals"]):
    """Inside `with`, SIGTERM, SIGUSR1 and SIGINT set `cause` and nothing else; a second SIGINT stops at once.

    At the end the handlers of before are back, and a signal that the fit did not heed is sent to them. In a thread,
    where Python allows no handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.cause = Cause.NONE
        self._heeded = False
        self._unheeded: int | None = None
        self._interrupts = 0
        self._before: dict[int, Any] = {}

    def heed(self) -> None:
        """Says that the fit stops for what was noted: it is not passed on, nor is what comes from now on."""
        self._unheeded = None
        self._heeded = True

    def _note(self, number: int, frame: Any) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            self.heed()
            raise Interrupted(Cause.SIGINT.exit_code)
        self.cause = max(self.cause, Cause.of(number))
        self._unheeded = None if self._heeded else number

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in NUMBERS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._unheeded is not None and error[0] is None:
            signal.raise_signal(self._unheeded)
