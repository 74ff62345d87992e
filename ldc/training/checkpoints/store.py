"""The checkpoints of one stage on the disk: each is made under a temporary name, and gets its own once it is whole.

A process that is killed at any moment leaves whole checkpoints, and at most one folder of a temporary name, which the
next start removes.
"""

import logging
import re
import shutil
from pathlib import Path

from ldc.training.checkpoints import manifest as manifests
from ldc.training.checkpoints.durable import sync, sync_tree
from ldc.training.checkpoints.manifest import Manifest

FOLDER = "checkpoints"
STATE = "state.ckpt"  # below a checkpoint's folder: a file, or the folder of the strategy's shards
_NAME = re.compile(r"step-(\d{8,})|\.step-(\d{8,})\.old")
log = logging.getLogger(__name__)


class Store:
    """Commits checkpoints and removes those that are not wanted any more.

    Args:
        folder: the stage's folder; checkpoints are `checkpoints/step-00000100/`.
        keep_last: number of newest checkpoints that stay.
        keep_every_n_steps: steps whose checkpoints stay for good; None: no others.
    """

    def __init__(self, folder: Path | str, keep_last: int = 2, keep_every_n_steps: int | None = None):
        if keep_last < 1:
            raise ValueError(f"keep_checkpoints must be at least 1, not {keep_last}.")
        self.folder = Path(folder) / FOLDER
        self.keep_last = keep_last
        self.keep_every_n_steps = keep_every_n_steps

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def temporary(self, step: int) -> Path:
        return self.folder / f".step-{step:08d}.tmp"

    def _aside(self, step: int) -> Path:
        return self.folder / f".step-{step:08d}.old"

    def begin(self, step: int) -> Path:
        """Makes the empty temporary folder of a checkpoint."""
        self.discard(step)
        is_first = not self.folder.is_dir()
        self.temporary(step).mkdir(parents=True)
        if is_first:
            sync(self.folder.parent)
        return self.temporary(step)

    def commit(self, manifest: Manifest) -> Path:
        """Gives the temporary folder of the manifest's step its name, and removes what retention leaves out.

        Until the rename there is no such checkpoint, from then on it is whole: all is on the disk before and after.
        """
        temporary, path, aside = (make(manifest.step) for make in (self.temporary, self.path, self._aside))
        manifests.write(temporary, manifest)
        sync_tree(temporary)
        if path.exists():  # damaged, or of a fit that was taken back to an earlier step
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        temporary.rename(path)
        sync(self.folder)
        shutil.rmtree(aside, ignore_errors=True)
        self._retain(manifest.step)
        return path

    def discard(self, step: int) -> None:
        """Removes the temporary folder of a step."""
        shutil.rmtree(self.temporary(step), ignore_errors=True)

    def clear_leftovers(self) -> None:
        """Removes what a killed process left; a checkpoint that it was about to replace gets its name back."""
        for path in sorted(self.folder.glob(".step-*.old")):
            name = own_name(path)
            if name.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(name)
        for path in sorted(self.folder.glob(".step-*.tmp")):
            log.info("%s was not finished, and is removed.", path)
            shutil.rmtree(path, ignore_errors=True)

    def _retain(self, step: int) -> None:
        """Removes old checkpoints, now that the one of this step is whole; damaged ones do not count as kept."""
        found = folders(self.folder.parent)
        whole = [number for number in found if number <= step and not manifests.damage(found[number], hashes=False)]
        kept = set(whole[-self.keep_last :])
        if self.keep_every_n_steps:
            kept |= {number for number in whole if number % self.keep_every_n_steps == 0}
        for number in found.keys() - kept:
            if number > step:
                log.warning("%s is of the run before it was taken back to an earlier step: removed.", found[number])
            self._remove(number, found[number])

    def _remove(self, step: int, path: Path) -> None:
        path.rename(self.temporary(step))  # cut short, the removal leaves a leftover and no damaged checkpoint
        self.discard(step)


def own_name(path: Path) -> Path:
    """Returns the name that a checkpoint gets back when `clear_leftovers` finds it set aside; others keep theirs."""
    return path.with_name(path.name.removeprefix(".").removesuffix(".old"))


def folders(folder: Path | str) -> dict[int, Path]:
    """Returns the folders of a stage's checkpoints, whole or not, by their step and in its order.

    One that was just being replaced when the process was killed stands under another name.
    """
    found: dict[int, Path] = {}
    for path in sorted((Path(folder) / FOLDER).glob("*step-*")):  # ".step" comes before "step", which wins
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1] or match[2])] = path
    return dict(sorted(found.items()))


def newest(folder: Path | str) -> Path | None:
    """Returns the newest whole checkpoint of a stage, `checkpoints/step-00000100`, or None.

    Every file is read through, newest checkpoint first; damaged ones are named in a warning and passed over.
    """
    for path in reversed(folders(folder).values()):
        reason = manifests.damage(path)
        if reason is None:
            return path
        log.warning("%s is damaged and passed over: %s.", path, reason)
    return None
