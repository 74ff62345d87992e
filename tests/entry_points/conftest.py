"""Runs commands in this process, as a shell would, and keeps what they say."""

import json
import signal
import sys
from typing import Any, NamedTuple

import pytest

from ldc.models import build_student, load_student, save_student
from ldc.runtime.paths import ASSETS
from ldc.surgery import Plan


class Said(NamedTuple):
    code: int
    out: list[str]
    err: list[str]

    @property
    def summary(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        assert len(self.out) == 1
        return json.loads(self.out[0])


@pytest.fixture(autouse=True)
def notices():
    """A command leaves SIGUSR1 ignored, as the process is to end with it; this one goes on, and starts programs."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def command(capfd, monkeypatch):
    """`command(main, *arguments)`: exit code, lines of stdout, lines of stderr."""

    def run(main, *arguments) -> Said:
        monkeypatch.setattr(sys, "argv", ["ldc", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        return Said(stop.value.code, out.splitlines(), err.splitlines())

    return run


@pytest.fixture
def refused(command):
    """The last line of stderr of a command that must end with a user's error."""

    def run(main, *arguments) -> str:
        said = command(main, *arguments)
        assert said.code == 2
        assert said.out == []
        assert not any("Traceback" in line or line.startswith("Error executing job") for line in said.err)
        return said.err[-1]

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def few_step_student(tmp_path_factory):
    """A student that takes embedded guidance in [3, 15]: the embedded teacher with a zero guidance projection."""
    teacher = load_student(ASSETS / "emoji_ldm")
    return save_student(tmp_path_factory.mktemp("student"), build_student(teacher.unet, Plan(), 256), Plan(), teacher)
