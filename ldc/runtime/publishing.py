"""What commands leave beside a student's weights, as a run's stage does: `artifact.json` and a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.artifacts import FILE, Artifact, artifact_id, publish
from ldc.models import Teacher
from ldc.models.latent_diffusion import Guidance
from ldc.models.saving import PLAN_FILE
from ldc.models.students import KIND
from ldc.runtime.card import FILE as CARD
from ldc.runtime.card import write_card
from ldc.runtime.fingerprint import relevant
from ldc.runtime.teachers import teacher_identity
from ldc.runtime.versions import versions
from ldc.surgery import Plan

_COUNTS = ("params", "macs", "initialised_from_teacher")


def clear_records(folder: Path, *facts: str) -> None:
    """Takes away what a folder says of a model that is about to be replaced: it must not outlive it.

    Args:
        folder: may not exist.
        facts: names of files of facts.
    """
    for name in (FILE, CARD, PLAN_FILE, *facts):
        (folder / name).unlink(missing_ok=True)


def publish_pruned_student(
    folder: Path, spec: Teacher, cfg: DictConfig, plan: Plan, guidance: Guidance, summary: Mapping[str, Any]
) -> Artifact:
    """Writes the card, and last the artifact's file, by which the student is guided as its teacher was.

    Args:
        folder: with the student's weights.
        spec: the teacher.
        cfg: with the groups `teacher` and `pruner` that made the student.
        plan: the pruner's.
        guidance: the teacher's.
        summary: of `plan_student`.
    """
    config = {name: relevant(cfg[name]) for name in ("teacher", "pruner")}
    parents = [teacher_identity(spec)]
    artifact = Artifact(
        folder,
        KIND,
        artifact_id(KIND, config, parents),
        parents,
        plan.fingerprint,
        config=config,
        versions=versions(),
        weights="pruned",
        guidance=guidance._asdict(),
        metrics={name: summary[name] for name in _COUNTS},
    )
    write_card(artifact, folder.resolve().name)
    return publish(artifact)
