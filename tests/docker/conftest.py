"""`box.enter(...)`: the entrypoint as a container runs it, by real bash, with stubs of the programs that it calls."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "docker" / "entrypoint.sh"
STRANGER = 54321  # a uid without an entry in /etc/passwd

# Stubs. `python` and `tini` tell by what they were started; the other two are a machine on which all is well.
TELLS = """#!/bin/bash
printf '%s\\0' "${0##*/}" "$$" "$#" "$@"
env -0
"""
STUBS = {
    "python": TELLS,
    "tini": TELLS,
    "nvidia-smi": "#!/bin/bash\necho 'GPU 0: stub'\n",
    "df": "#!/bin/bash\nprintf 'Filesystem 1024-blocks Used\\ntmpfs 8388608 0\\n'\n",
}


class Entered(NamedTuple):
    """What the entrypoint said (stderr), and what the program that it became was given."""

    code: int
    stderr: str
    program: str
    pid: int
    arguments: list[str]
    variables: dict[str, str]


class Box:
    """A folder that every uid can enter: `ldc-entrypoint`, the stubs in `bin`, and folders to write to or not."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, mode in {"bin": 0o755, "home": 0o777, "tmp": 0o1777, "sealed": 0o555}.items():
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        shutil.copy(ENTRYPOINT, folder / "ldc-entrypoint")
        (folder / "ldc-entrypoint").chmod(0o755)
        for name, text in STUBS.items():
            self.stub(name, text)

    def stub(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def environment(self, **changes: str | None) -> dict[str, str]:
        variables = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
        } | changes
        return {name: value for name, value in variables.items() if value is not None}

    def command(self, *words: str, through: tuple[str, ...] = ()) -> list[str]:
        return [*through, str(self.folder / "ldc-entrypoint"), *words]

    def enter(self, *words: str, through: tuple[str, ...] = (), **changes: str | None) -> Entered:
        ran = subprocess.run(  # noqa: S603
            self.command(*words, through=through),
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        if not ran.stdout:
            return Entered(ran.returncode, ran.stderr, "", 0, [], {})
        program, pid, count, *rest = ran.stdout.removesuffix("\0").split("\0")
        variables = dict(entry.split("=", 1) for entry in rest[int(count) :])
        return Entered(ran.returncode, ran.stderr, program, int(pid), rest[: int(count)], variables)


@pytest.fixture
def box():
    with tempfile.TemporaryDirectory(
        dir="/tmp", prefix="ldc-box-"
    ) as folder:  # pytest's own folder is closed to others
        Path(folder).chmod(0o755)
        yield Box(Path(folder))


@pytest.fixture
def stranger():
    """Words before a command that run it under a uid without an entry in /etc/passwd, as `docker run --user` does."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can take another uid, with setpriv")
    return ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--")


@pytest.fixture
def unprivileged(request):
    """The same where this is root, to whom no folder is read-only; nothing else where it is not."""
    return request.getfixturevalue("stranger") if os.geteuid() == 0 else ()


@pytest.fixture
def allowed():
    """Hands back words to put before a command where they work on this machine, which not every container lets."""

    def check(*words: str) -> tuple[str, ...]:
        if not shutil.which(words[0]) or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:  # noqa: S603
            pytest.skip(f"{words[0]} needs root, and a kernel that lets it")
        return words

    return check
