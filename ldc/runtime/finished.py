"""Finished stages of other runs: an artifact's id stands for all that decides it, so one need not be made twice."""

import logging
from dataclasses import replace
from pathlib import Path

from ldc.artifacts import FILE, Artifact, find, link_or_copy, publish

log = logging.getLogger(__name__)
_CHECKPOINTS = "checkpoints"
_OWN = frozenset({FILE, "stage.json", _CHECKPOINTS})  # written anew, or of use to an unfinished fit alone
_RUN_WIDE = frozenset({"evaluation"})  # kinds that write into their run's `samples/` too


def finished_elsewhere(outputs: Path, kind: str, identity: str) -> Artifact | None:
    """Returns the finished artifact with this id of any run, `outputs/<experiment>/<run>/<stage>/`, or None."""
    if kind in _RUN_WIDE:
        return None
    for path in sorted(outputs.glob(f"*/*/*/{FILE}")):
        try:
            artifact = find(path.parent)
        except ValueError as error:  # another run's, which this one does not depend on
            log.warning("Not looked at: %s", error)
            continue
        if artifact is not None and artifact.id == identity and is_whole(artifact):
            return artifact
    return None


def is_whole(artifact: Artifact) -> bool:
    """Tells whether what the artifact names beside its folder is still there."""
    return all(Path(path).exists() for path in artifact.outputs.values())


def link(artifact: Artifact, folder: Path) -> Artifact:
    """Puts the artifact's files into another folder, by hard links where that can be, and publishes it there.

    What it names in its own folder, and its base in its own run, it names in the new ones.
    """
    for source in sorted(artifact.folder.rglob("*")):
        inside = source.relative_to(artifact.folder)
        target = folder / inside
        if source.is_file() and _OWN.isdisjoint(inside.parts):
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
    outputs = {name: _moved(path, artifact.folder, folder) for name, path in artifact.outputs.items()}
    base = artifact.base and _moved(artifact.base, artifact.folder.parent, folder.parent)
    return publish(replace(artifact, folder=folder, outputs=outputs, base=base))


def unshare(folder: Path) -> None:
    """Takes away a folder's files that have a second name elsewhere: to write into one would change that one too.

    Checkpoints stay. They are replaced, never written into, and a fit goes on from them.
    """
    for path in list(folder.rglob("*")):
        shared = path.is_file() and path.lstat().st_nlink > 1
        if shared and _CHECKPOINTS not in path.relative_to(folder).parts:
            path.unlink()


def _moved(path: str, old: Path, new: Path) -> str:
    place, inside = Path(path).resolve(), old.resolve()  # one may be given from the working folder, the other in full
    return str(new / place.relative_to(inside)) if place.is_relative_to(inside) else path
