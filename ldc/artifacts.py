"""An artifact: an output folder with `artifact.json`, which says what it is, from what it was made and how.

The id hashes (kind, config, parents), so the same inputs name the same artifact; the file is written last and by
rename, so a folder that has one is complete.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ldc.permissions import share_weights

FILE = "artifact.json"
SCHEMA = 1


@dataclass(frozen=True)
class Artifact:
    """One finished output.

    `guidance` of a diffusion student: {"convention": "cfg" | "embedded" | "none", "default": float, "range": [lo, hi]},
    as diffusers' `guidance_scale`. `weights` says which weights the folder holds: "online", "average", "best",
    "pruned", "random" or "quantised".
    `base` names the model that the adapters in `lora/` belong to. `outputs` names what lies elsewhere, such as a folder
    of encoded shards in the cache.
    """

    folder: Path
    kind: str
    id: str
    parents: Sequence[str] = ()
    plan_fingerprint: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    samples_seen: int = 0
    weights: str | None = None
    guidance: Mapping[str, Any] | None = None
    base: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def artifact_id(kind: str, config: Mapping[str, Any], parents: Sequence[str]) -> str:
    """Returns 16 hex digits that stand for (kind, config, parents)."""
    text = json.dumps([SCHEMA, kind, config, list(parents)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def publish(artifact: Artifact) -> Artifact:
    """Writes `artifact.json` into the artifact's folder, atomically, and returns the artifact."""
    share_weights(artifact.folder)
    content = {"schema": SCHEMA, **{name: value for name, value in asdict(artifact).items() if name != "folder"}}
    temporary = artifact.folder / f".{FILE}.tmp"
    with temporary.open("w") as file:
        json.dump(content, file, indent=2, default=str)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(artifact.folder / FILE)
    return artifact


def find(folder: Path | str) -> Artifact | None:
    """Returns the artifact in `folder`, or None where there is no finished one.

    Raises:
        ValueError: the file is not readable as an artifact of this schema.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise ValueError(f"{path} must have schema {SCHEMA}, not {schema!r}.")
        return Artifact(folder=Path(folder), **content)
    except FileNotFoundError:  # rank zero has just taken it away, to make the stage anew
        return None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be an artifact file of schema {SCHEMA}, but reading failed: {error}.") from error


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, or a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
