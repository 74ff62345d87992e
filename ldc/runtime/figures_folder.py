"""Where `ldc.evaluate` puts a model's figures: a folder of its own for each model, so that none replaces another's."""

import hashlib
from pathlib import Path

from ldc.runtime.paths import locate
from ldc.runtime.teachers import named_teacher

_DIGITS = 8  # of the hash of a path
_RUN = "config.yaml"  # of a run's folder


def figures_folder(student: str, outputs: str, out: str | None = None) -> Path:
    """Returns the folder that the user names, else one below `outputs/evaluate`.

    A model below `outputs` has the same path there, as `evaluate/<experiment>/<run>/<stage>`; any other folder or file
    its name, that of a run `<experiment>-<run>-<stage>`, and a hash of where it lies; a teacher's config and a hub id
    their names.

    Args:
        student: as the user named it.
        outputs: the folder of all outputs.
        out: that the user names.
    """
    return Path(out or Path(outputs) / "evaluate" / _place(student, Path(outputs).resolve()))


def _place(student: str, outputs: Path) -> Path:
    if named_teacher(student) is not None:
        return Path(Path(student).name)
    path = Path(locate(student)).expanduser()
    if not path.exists():
        return Path(student.replace("/", "--"))  # a hub id
    path = path.resolve()
    if outputs in path.parents:
        return path.relative_to(outputs)
    return Path(f"{_name(path)}-{hashlib.sha256(str(path).encode()).hexdigest()[:_DIGITS]}")


def _name(path: Path) -> str:
    """Returns a folder's name, with those of the experiment and the run where it is a run, or a stage of one."""
    for folder, parts in ((path.parent, 3), (path, 2)):
        if (folder / _RUN).is_file():
            return "-".join(path.parts[-parts:])
    return path.name
