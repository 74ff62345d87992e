"""The versions that an artifact records."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("ldc", "torch", "lightning", "diffusers", "transformers", "peft", "webdataset", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Returns {package: version} of this environment, Python included."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
