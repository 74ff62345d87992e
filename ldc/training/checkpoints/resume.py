"""Which checkpoint a fit goes on from: a silent start from zero is never among the choices where there has been one."""

import logging
from pathlib import Path

from ldc.training.checkpoints import manifest as manifests
from ldc.training.checkpoints.store import FOLDER, STATE, folders, newest

LAST = "last"
log = logging.getLogger(__name__)


def find_checkpoint(folder: Path | str, resume: Path | str | None = None) -> Path | None:
    """Returns the folder of the checkpoint to go on from, or None for a fit that begins.

    Args:
        folder: the stage's folder.
        resume: None takes the newest whole checkpoint, and begins where there has never been one; "last" wants one to
            be there; else the path of a checkpoint's folder, or of its state.

    Raises:
        ValueError: there is no checkpoint where one must be, or it is damaged, or of an older layout.
    """
    folder = Path(folder)
    path = named(resume) if resume is not None and str(resume) != LAST else own(folder, must_be=resume is not None)
    if path is not None:
        log.info("going on from %s at step %d.", path, manifests.read(path).step)
    return path


def again(folder: Path | str, resume: Path | str | None) -> Path | str | None:
    """Returns what a fit goes on from that was begun with this `resume`, and is started again by the same words.

    It is its own newest checkpoint once that is later than the one it was given, or the given one is gone. Before its
    first save it is still the given one.
    """
    latest = None if resume is None or str(resume) == LAST else newest(folder)
    if resume is None or latest is None:
        return resume
    given = Path(resume) if not Path(resume).exists() else checkpoint_at(resume)
    is_whole = manifests.damage(given, hashes=False) is None
    return resume if is_whole and manifests.read(latest).step <= manifests.read(given).step else latest


def named(resume: Path | str) -> Path:
    """Returns the folder of the checkpoint at an explicit path, all of whose files are checked.

    Raises:
        ValueError: nothing is there, or it is not a whole checkpoint.
    """
    path = checkpoint_at(resume)
    reason = manifests.damage(path)
    if reason is not None:
        raise ValueError(f"resume must be a whole checkpoint, but of {str(path)!r} {reason}.")
    return path


def checkpoint_at(resume: Path | str) -> Path:
    """Returns the folder of the checkpoint at an explicit path; its files are not looked at.

    Raises:
        ValueError: nothing is there.
    """
    path = Path(resume)
    if not path.exists():
        raise ValueError(f"resume must be null, last or a checkpoint's folder, but {str(path)!r} does not exist.")
    return path.parent if path.name == STATE else path


def own(folder: Path, *, must_be: bool) -> Path | None:
    """Returns the newest whole checkpoint of a stage's folder, or None where none was ever made.

    Raises:
        ValueError: all are damaged, or of an older layout, or there is none where one `must_be`.
    """
    found = folders(folder)
    path = newest(folder)
    if path is None and found:
        raise ValueError(
            f"{folder / FOLDER} must hold a whole checkpoint, but all {len(found)} in it are damaged"
            f" ({', '.join(f'{p.name}: {manifests.damage(p)}' for p in found.values())}):"
            " name another by resume=PATH, or start anew with fresh=true."
        )
    if path is None and any(folder.glob("*.ckpt")):
        raise ValueError(
            f"{folder} must hold its checkpoints in {FOLDER}/, but has {min(folder.glob('*.ckpt')).name} of an older"
            " version, which cannot be resumed: choose another run=NAME, or start anew with fresh=true."
        )
    if path is None and must_be:
        raise ValueError(f"resume=last must find a checkpoint in {folder / FOLDER}, but there is none.")
    return path
