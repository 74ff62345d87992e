"""Whether the disks hold what a run writes: cached latents, checkpoints, students."""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.profiling.machine import GB
from ldc.runtime.chain import Stage
from ldc.runtime.doctor.estimates import Estimate
from ldc.runtime.doctor.findings import FAILED, NOTE, OK, Finding
from ldc.runtime.paths import cache_folder

DISK = "disk"
_RECORD = 2048  # bytes of a cached sample's metadata and of its headers in the tar
_HALF = 2  # bytes of a cached number


def check_disk(
    cfg: DictConfig,
    estimates: Sequence[Estimate],
    stages: Sequence[Stage],
    finished: Sequence[str],
    samples: int | None,
) -> list[Finding]:
    """Returns a finding for each file system; what finished stages wrote is there already."""
    needs = [(name, Path(cfg.paths.outputs), size) for name, size in _outputs(estimates, finished).items()]
    found = []
    for stage in stages:
        if stage.kind.kind != "latents" or stage.name in finished or not estimates or "teacher" not in stage.config:
            continue
        if samples is None:
            found.append(Finding(DISK, NOTE, f"{stage.name}: its cache is left out, as the samples are not counted"))
            continue
        size = samples * cached_bytes(stage.config, estimates[0])
        needs.append((f"{stage.name}'s cache", cache_folder(cfg.paths.cache), size))
    return [*found, *_by_file_system(needs)]


def cached_bytes(config: Mapping[str, Any], estimate: Estimate) -> int:
    """Returns the bytes of a cached sample: moments of the latents, mirrored too if so, and the states of its text."""
    channels, factor = estimate.plan.networks.latents
    side = config["data"]["size"] // factor
    numbers = 2 * channels * side * side * (2 if config["flip"] else 1)
    if config["text"]:
        length, width = estimate.plan.networks.text
        numbers += length * width
    return numbers * _HALF + _RECORD


def _outputs(estimates: Sequence[Estimate], finished: Sequence[str]) -> dict[str, int]:
    """Returns bytes by what is written: the checkpoints that stay and the one being written, and each student."""
    sizes = {}
    for estimate in estimates:
        name, trainer = estimate.plan.name, estimate.plan.config.trainer
        if name in finished:
            continue
        kept = trainer["keep_checkpoints"] + 1
        if trainer["keep_every_n_steps"]:
            kept += estimate.plan.config.max_steps // trainer["keep_every_n_steps"]
        sizes[f"{name}'s {kept} checkpoints"] = kept * estimate.checkpoint
        sizes[f"{name}'s student"] = estimate.step.student
        start = estimate.plan.config.student
        if start not in {*finished, *(other.plan.name for other in estimates), "teacher"}:
            sizes[f"{start}'s student"] = estimate.step.student
    return sizes


def _by_file_system(needs: Sequence[tuple[str, Path, int]]) -> list[Finding]:
    disks: dict[int, list[tuple[str, Path, int]]] = defaultdict(list)
    for name, folder, size in needs:
        place = _existing(folder)
        disks[place.stat().st_dev].append((name, place, size))
    found = []
    for parts in disks.values():
        place, needed = parts[0][1], sum(size for _, _, size in parts)
        free = shutil.disk_usage(place).free
        listed = ", ".join(f"{name} {size / GB:.3g}" for name, _, size in parts)
        text = f"{needed / GB:.3g} GiB are written below {place}, where {free / GB:.3g} are free ({listed})"
        found.append(Finding(DISK, OK if needed < free else FAILED, text))
    return found


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above that is there."""
    folder = folder.expanduser().absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
