"""Copies remote tars into the cache, complete or not at all."""

import hashlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.error import URLError
from urllib.request import urlopen

from ldc.permissions import share

REMOTE = re.compile(r"(pipe:|https?://|s3://|gs://)")
COMMANDS = {"s3://": "aws s3 cp {url} -", "gs://": "gsutil cat {url}"}
NUM_CONNECTIONS = 4
TIMEOUT_SECONDS = 60
# Exit codes of a command that SIGTERM or SIGUSR1 ended, through a shell or not.
_STOPPED = tuple(code for number in (signal.SIGTERM, signal.SIGUSR1) for code in (128 + number, -number))
_SECONDS_UNTIL_TOLD = 2.0
log = logging.getLogger(__name__)


def is_remote(url: str) -> bool:
    """Returns whether a shard is not a local file: `pipe:`, http(s), s3 or gs."""
    return bool(REMOTE.match(url))


def pipe_command(url: str) -> str | None:
    """Returns the shell command that writes the tar to its standard output, or None for http(s)."""
    if url.startswith("pipe:"):
        return url.removeprefix("pipe:").strip()
    return next(
        (command.format(url=shlex.quote(url)) for scheme, command in COMMANDS.items() if url.startswith(scheme)), None
    )


def fetch_all(urls: Sequence[str], cache: Path) -> list[str]:
    """Returns local paths, in order: local tars as they are, remote ones as copies in the cache, fetched once.

    Raises:
        ValueError: a remote tar cannot be fetched.
    """
    with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        return list(pool.map(lambda url: str(fetch(url, cache)) if is_remote(url) else url, urls))


def fetch(url: str, cache: Path) -> Path:
    """Returns the cached copy of a remote tar, fetching it when it is not there."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = cache / "remote" / f"{digest}.tar"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{digest}-", dir=path.parent)
    log.info("fetching %s into %s", url, path)
    try:
        with os.fdopen(handle, "wb") as file:
            _download(url, file)
        share(Path(temporary))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _download(url: str, file: BinaryIO) -> None:
    if command := pipe_command(url):
        # the user's own command, run as webdataset runs it
        ended = subprocess.run(command, shell=True, stdout=file, check=False)  # noqa: S602
        if ended.returncode in _STOPPED:
            time.sleep(_SECONDS_UNTIL_TOLD)  # SLURM tells a whole job to stop: this process hears of it now, or did
        if ended.returncode:
            raise ValueError(
                f"shard {url!r} must be readable, but its command ended with exit code {ended.returncode}."
            )
        return
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  http or https by `is_remote`
            expected = response.headers.get("Content-Length")
            shutil.copyfileobj(response, file)
    except (URLError, OSError) as error:
        raise ValueError(f"shard {url!r} must be readable, but fetching it failed: {error}.") from error
    if expected and int(expected) != file.tell():
        raise ValueError(f"shard {url!r} must have {expected} bytes, but {file.tell()} arrived.")
