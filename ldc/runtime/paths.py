"""Where configs, shipped assets and caches lie: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

from ldc.data.cache import default_cache

_PACKAGE = Path(__file__).resolve().parents[1]


def _shipped(name: str) -> Path:
    in_wheel, in_checkout = _PACKAGE / name, _PACKAGE.parent / name
    return in_wheel if in_wheel.is_dir() else in_checkout


CONF = _shipped("conf")
ASSETS = _shipped("assets")


def cache_folder(configured: str | None = None) -> Path:
    """Returns the folder for unpacked data, encoded shards and features: the configured one, else the default."""
    return default_cache() if configured is None else Path(configured).expanduser()


def locate(path: str) -> str:
    """Returns a path below the shipped assets for `assets/...`, and any other path or hub id unchanged."""
    head, _, rest = path.partition("/")
    return str(ASSETS / rest) if head == "assets" and not Path(path).exists() else path
