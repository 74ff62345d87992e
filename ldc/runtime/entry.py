"""What every entry point shares: Hydra's command line in, one JSON line out, one sentence for a user's error.

File descriptor 1 is pointed at stderr while a command runs, so whatever a library prints stays off stdout; only the
summary goes to the saved descriptor.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ldc.runtime.arguments import legalise
from ldc.runtime.checks import check_command, expand_home
from ldc.runtime.paths import CONF
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.signatures import check_signatures
from ldc.runtime.stops import EXIT_CODES, ignore_notices, stoppable
from ldc.runtime.suggestions import explain
from ldc.runtime.words import check_words

USER_ERROR = 2
_USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)
_SHOWS_CONFIG = ("--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "--version")

Summary = dict[str, Any]
log = logging.getLogger(__name__)


class SummarisedError(ValueError):
    """A user's error that comes with a summary: it is printed as the last line of stdout, as if there were no error."""

    def __init__(self, message: str, summary: Summary):
        super().__init__(message)
        self.summary = summary


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Summary]], Callable[[], None]]:
    """Makes `task(cfg) -> summary` a command: `conf/<config_name>.yaml` in, the summary as the last line of stdout."""

    def decorate(task: Callable[[DictConfig], Summary]) -> Callable[[], None]:
        @wraps(task)
        def main() -> None:
            ignore_notices()
            sys.exit(_run(task, config_name))

        main.task = task  # pyrefly: ignore  the undecorated function: tests and notebooks call it with a config
        return main

    return decorate


def _run(task: Callable[[DictConfig], Summary], config_name: str) -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing: the sentence below is ours to write
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    original = sys.argv[1:]
    sys.argv[1:] = legal = legalise(original, CONF)
    shows_config = any(argument.partition("=")[0] in _SHOWS_CONFIG for argument in original)
    refusals: list[Exception] = []
    try:
        check_words(original)
        with _stdout_to_stderr(active=not shows_config) as stdout:

            def job(cfg: DictConfig) -> float | None:
                sys.argv[1:] = original  # processes that a strategy starts are given the user's own words
                with _kept(refusals):
                    return _work(task, cfg, stdout).get("metric")

            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
        for refusal in refusals:
            raise refusal
    except _USER_ERRORS as error:
        return _report(error, legal, config_name)
    except KeyboardInterrupt:
        return _interrupted(130)
    except SystemExit as stop:
        if stop.code not in EXIT_CODES:
            raise
        return _interrupted(stop.code)
    finally:
        sys.argv[1:] = original
    return 0


def _work(task: Callable[[DictConfig], Summary], cfg: DictConfig, stdout: int) -> Summary:
    check_command(cfg)
    check_signatures(cfg)
    expand_home(cfg)
    try:
        with stoppable(cfg):
            summary = task(cfg)
    except SummarisedError as error:
        _print(error.summary, stdout)
        raise
    _print(summary, stdout)
    return summary


@contextmanager
def _kept(refusals: list[Exception]) -> Iterator[None]:
    """Keeps a user's error from Hydra, which would write a line of its own before our sentence; it is raised later.

    With `-m` it goes up through Hydra, whose launcher may have run the job in another process.
    """
    try:
        yield
    except _USER_ERRORS as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        refusals.append(error)


def _print(summary: Summary, stdout: int) -> None:
    if is_rank_zero():
        with open(stdout, "w", encoding="utf-8", closefd=False) as file:
            file.write(json_line(summary) + "\n")


def json_line(summary: Summary) -> str:
    """Returns one line that every JSON reader takes: NaN and infinities, which JSON has not, are null."""
    text = json.dumps(summary, default=str)
    return json.dumps(json.loads(text, parse_constant=lambda _: None))


@contextmanager
def _stdout_to_stderr(*, active: bool) -> Iterator[int]:
    """Sends what Python, programs and C libraries print to stderr, and gives a descriptor of the true stdout."""
    stdout, printed = os.dup(1), sys.stdout
    try:
        if active:
            sys.stdout.flush()
            os.dup2(2, 1)
            sys.stdout = sys.stderr
        yield stdout
    finally:
        sys.stdout.flush()
        sys.stdout = printed
        os.dup2(stdout, 1)
        os.close(stdout)


def _interrupted(code: int) -> int:
    log.info("Interrupted: the same command goes on from here.")
    return code


def _report(error: BaseException, arguments: list[str], config_name: str) -> int:
    if "debug=true" in arguments:
        traceback.print_exception(error)
    cause = error
    while isinstance(cause, HydraException) and isinstance(cause.__cause__, ValueError | OSError):
        cause = cause.__cause__
    if isinstance(cause, HydraException | OmegaConfBaseException):
        message = explain(cause, arguments, CONF, config_name)
    else:
        message = " ".join(str(cause).split())
    sys.stderr.write(message + "\n")
    return getattr(cause, "exit_code", USER_ERROR)
