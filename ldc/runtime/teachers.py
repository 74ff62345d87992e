"""From a teacher's config, or the word after `student=`, to a model."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from ldc.models import Teacher
from ldc.runtime.paths import locate

_ENDS_KB = 64


def teacher_spec(config: Any) -> Teacher:
    """Returns what a `teacher` group's config says, shipped paths resolved."""
    spec = instantiate(config)
    return replace(spec, path_or_id=locate(spec.path_or_id))


def teacher_identity(spec: Teacher) -> str:
    """Returns a hash of the teacher's weights (sizes, starts and ends of the files), or of its hub id and revision."""
    folder = Path(spec.path_or_id).expanduser()
    digest = hashlib.sha256()
    if spec.weights == "random" or not folder.is_dir():
        digest.update(repr((spec.path_or_id, spec.revision, spec.weights, spec.architecture, spec.seed)).encode())
        return f"teacher-{digest.hexdigest()[:16]}"
    for path in sorted(
        p for p in folder.rglob("*") if p.suffix in {".safetensors", ".bin"} or p.name.endswith("config.json")
    ):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS_KB << 10))
            file.seek(max(0, path.stat().st_size - (_ENDS_KB << 10)))
            digest.update(file.read())
    return f"teacher-{digest.hexdigest()[:16]}"
