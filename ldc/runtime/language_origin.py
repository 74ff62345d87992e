"""Where a language model is from: the model that it was first made of, and what the weights had been through.

The folders that commands and runs make say it in their `artifact.json`; it is read there and handed on.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ldc import artifacts
from ldc.artifacts import Artifact
from ldc.models.language import LANGUAGE_KIND, LanguageTeacher, language_config
from ldc.models.language.folders import CONFIG
from ldc.models.language.packed import is_packed, num_bits
from ldc.runtime.teachers import language_spec, teacher_identity


class Origin(NamedTuple):
    """The path or id of the first model, and what the weights have been through since they were trained.

    None where it is not known, or they have been through nothing.
    """

    base: str | None
    quantised: str | None


def made_of(spec: LanguageTeacher) -> dict[str, Any]:
    """Returns what a student's facts say of the model that it is made of."""
    base, quantised = origin(spec)
    return {"parent": spec.path_or_id, "origin": base, "parent_quantised": quantised}


def origin(spec: LanguageTeacher) -> Origin:
    """Returns the origin of a model that is about to be read; its own quantisation, if any, counts."""
    if spec.weights == "random":
        return Origin(spec.path_or_id, None)
    artifact = folder_artifact(spec.path_or_id)
    found = Origin(None, None) if artifact is None else origin_of(lineage(artifact))
    return Origin(found.base or spec.path_or_id, _after(spec.quantised or found.quantised, packed_bits(spec)))


def origin_of(line: Sequence[Artifact]) -> Origin:
    """Returns the origin of the first artifact of a `lineage`; its own quantisation does not count."""
    base, before, since = None, None, []
    for place, older in enumerate(line):
        if place > 0:
            since.append(_bits(older.folder))
        if "origin" in older.metrics:
            base, before = older.metrics["origin"], older.metrics.get("parent_quantised")
            break
        teacher = older.config.get("teacher") or {}
        base, before = teacher.get("path_or_id") or base, teacher.get("quantised") or before
    else:
        if base is not None and folder_artifact(base) is None:
            since.append(_bits(Path(base).expanduser()))
    for bits in reversed(since):
        before = _after(before, bits)
    return Origin(base, before)


def lineage(artifact: Artifact, others: Iterable[Artifact] | None = None) -> list[Artifact]:
    """Returns a language student's artifact and those that it was made from, the nearest first.

    Args:
        artifact: the student's.
        others: of the same run; None: those that lie beside it. The folder of a teacher may hold more.
    """
    found = [artifact, *_ancestors(artifact, _beside(artifact) if others is None else others)]
    seen = {one.folder.resolve() for one in found}
    while (teacher := _teacher(found[-1])) is not None and teacher.folder.resolve() not in seen:
        older = [one for one in [teacher, *_ancestors(teacher, _beside(teacher))] if one.folder.resolve() not in seen]
        found += older
        seen |= {one.folder.resolve() for one in older}
    return found


def folder_artifact(path_or_id: str) -> Artifact | None:
    """Returns what a folder says of how it was made, None for any other model."""
    folder = Path(path_or_id).expanduser()
    return artifacts.find(folder) if folder.is_dir() else None


def packed_bits(spec: LanguageTeacher) -> int | None:
    """Returns the bits of quantised weights as `ldc.quantize` writes them, None of others."""
    if spec.weights == "random" or spec.path_or_id.endswith(".gguf"):
        return None
    config = language_config(spec)
    return num_bits(config) if is_packed(config) else None


def _bits(folder: Path) -> int | None:
    path = folder / CONFIG
    config = json.loads(path.read_text()) if path.is_file() else {}
    return num_bits(config) if is_packed(config) else None


def _after(before: str | None, bits: int | None) -> str | None:
    if bits is None:
        return before
    return f"{before}, then {bits} bits" if before else f"{bits} bits"


def _ancestors(artifact: Artifact, others: Iterable[Artifact]) -> list[Artifact]:
    by_id = {other.id: other for other in others if other.kind == LANGUAGE_KIND}
    found = [by_id[parent] for parent in artifact.parents if parent in by_id]
    return [*found, *(older for parent in found for older in _ancestors(parent, by_id.values()))]


def _beside(artifact: Artifact) -> list[Artifact]:
    """Returns the artifacts of folders beside this one's, such as a run's other stages; unreadable ones are none."""
    found = []
    for path in sorted(artifact.folder.resolve().parent.glob(f"*/{artifacts.FILE}")):
        try:
            found.append(artifacts.find(path.parent))
        except (ValueError, OSError):
            continue
    return [one for one in found if one is not None]


def _teacher(artifact: Artifact) -> Artifact | None:
    """Returns what the folder of an artifact's teacher says of it; None where it says nothing or holds another now."""
    config = artifact.config.get("teacher") or {}
    found = folder_artifact(config["path_or_id"]) if config.get("path_or_id") else None
    if found is None or found.id in artifact.parents:
        return found
    same = "_target_" in config and teacher_identity(language_spec(config)) in artifact.parents
    return found if same else None
