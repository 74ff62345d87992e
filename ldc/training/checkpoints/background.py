"""Runs one job at a time beside the training, and gives back its error."""

import threading
from collections.abc import Callable


class Background:
    """A thread for one job; its end is asked for before the next one starts."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], object]) -> None:
        def run() -> None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised in the training's own thread, by `finish`
                self._error = error

        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def finish(self) -> None:
        """Waits for the job's end, where there is one, and raises its error once."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error
