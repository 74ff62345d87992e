"""What a command leaves beside a language student's weights, as a run's stage does: `artifact.json` and a card."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ldc.artifacts import Artifact, artifact_id, publish
from ldc.models.language import LANGUAGE_KIND, LanguageTeacher
from ldc.runtime.fingerprint import relevant
from ldc.runtime.language_card import write_language_card
from ldc.runtime.language_origin import folder_artifact
from ldc.runtime.teachers import teacher_identity
from ldc.runtime.versions import versions


def publish_language_student(
    folder: Path,
    spec: LanguageTeacher,
    config: Mapping[str, Any],
    weights: str,
    facts: Mapping[str, Any],
    plan_fingerprint: str | None = None,
) -> Artifact:
    """Writes the card, and last the artifact's file; returns the artifact.

    Args:
        folder: with the student's weights.
        spec: the model that it was made of.
        config: the settings that made it.
        weights: which the folder holds, as in `Artifact`.
        facts: what came of it.
        plan_fingerprint: of the plan that made it; None: that of the model that it was made of.
    """
    parent, place = folder_artifact(spec.path_or_id), Path(spec.path_or_id).expanduser()
    parents = [] if parent is None else [parent.id]
    parents.append(teacher_identity(spec))
    if place.exists():  # to be found from other working folders, too
        spec = replace(spec, path_or_id=str(place.resolve()))
    plain = {name: relevant(value) for name, value in {**config, "teacher": asdict(spec)}.items()}
    identity = artifact_id(LANGUAGE_KIND, plain, parents)
    if plan_fingerprint is None and parent is not None:
        plan_fingerprint = parent.plan_fingerprint
    told: dict[str, Any] = {"config": plain, "versions": versions(), "weights": weights, "metrics": dict(facts)}
    artifact = Artifact(folder, LANGUAGE_KIND, identity, parents, plan_fingerprint, **told)
    write_language_card(artifact, folder.resolve().name)
    return publish(artifact)
