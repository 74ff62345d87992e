"""The container that a job's processes run in: none, an image by pyxis (enroot), or one by Apptainer."""

from collections.abc import Sequence
from dataclasses import dataclass

from ldc.runtime.checks import check_texts

KINDS = ("none", "pyxis", "apptainer")
_LISTS = ("mounts", "options")


@dataclass(frozen=True, kw_only=True)
class Container:
    """An image and what is mounted into it; the working folder always is.

    Args:
        kind: none, pyxis (options of srun) or apptainer (a command before ours).
        image: what pyxis or Apptainer takes: a registry's name, or a file that all nodes see.
        mounts: `OUTSIDE:INSIDE`, or `FOLDER` for the same path inside.
        options: further options of srun's pyxis plugin, or of `apptainer exec`.

    Raises:
        ValueError: the kind is unknown, the image is missing or not wanted, or a list is none.
    """

    kind: str = "none"
    image: str | None = None
    mounts: Sequence[str] = ()
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"cluster.container.kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {self.kind!r}."
            )
        if (self.kind == "none") != (self.image is None):
            wanted = "null without a container" if self.kind == "none" else f"given with kind={self.kind}"
            raise ValueError(f"cluster.container.image must be {wanted}, not {self.image!r}.")
        place = "cluster.container."
        check_texts({f"{place}{name}": getattr(self, name) for name in _LISTS}, *(f"{place}{name}" for name in _LISTS))

    def srun_options(self, workdir: str) -> list[str]:
        """Returns what srun is told of the container."""
        if self.kind != "pyxis":
            return []
        mounts = ",".join(self._mounts(workdir))
        return [
            f"--container-image={self.image}",
            f"--container-mounts={mounts}",
            f"--container-workdir={workdir}",
            *self.options,
        ]

    def prefix(self, workdir: str, *, has_gpu: bool) -> list[str]:
        """Returns the command that runs what follows it inside of the image."""
        if self.kind != "apptainer":
            return []
        binds = [word for mount in self._mounts(workdir) for word in ("--bind", mount)]
        driver = ["--nv"] if has_gpu else []
        return ["apptainer", "exec", *driver, *binds, "--pwd", workdir, *self.options, str(self.image)]

    def _mounts(self, workdir: str) -> list[str]:
        return [mount if ":" in mount else f"{mount}:{mount}" for mount in (workdir, *self.mounts)]
