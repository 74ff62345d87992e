"""Where configs, shipped assets and caches lie: beside the package in a checkout, inside it in an installed wheel."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def _shipped(name: str) -> Path:
    in_wheel, in_checkout = _PACKAGE / name, _PACKAGE.parent / name
    return in_wheel if in_wheel.is_dir() else in_checkout


CONF = _shipped("conf")
ASSETS = _shipped("assets")


def cache_folder() -> Path:
    """Returns the folder for unpacked data, encoded shards and features: `LDC_CACHE`, else `~/.cache/ldc`."""
    return Path(os.environ.get("LDC_CACHE", "~/.cache/ldc")).expanduser()


def locate(path: str) -> str:
    """Returns a path below the shipped assets for `assets/...`, and any other path or hub id unchanged."""
    head, _, rest = path.partition("/")
    return str(ASSETS / rest) if head == "assets" and not Path(path).exists() else path
