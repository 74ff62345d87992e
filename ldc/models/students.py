"""Students: a teacher's U-Net with a plan applied and the teacher's weights; found and loaded strictly."""

import copy
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldc import artifacts
from ldc.families.unet2d import settle, stock_config
from ldc.models.folders import find_folder, load_parts, read_config
from ldc.models.latent_diffusion import Guidance, LatentDiffusion
from ldc.surgery import Plan, apply, key_map

KIND = "student"
_EMBEDDED = Guidance("embedded", 8.0, (3.0, 15.0))  # LCM's w in [2, 14]


def build_student(teacher_unet: Any, plan: Plan, time_cond_proj_dim: int | None = None) -> Any:
    """Returns a trainable student whose tensors are copies of the teacher's; the teacher is not changed.

    Args:
        teacher_unet: the unedited U-Net that the plan names.
        plan: what goes.
        time_cond_proj_dim: width of the guidance embedding. Its projection is added with zeros, so that the student
            starts as the same function for every guidance.

    Raises:
        ValueError: the plan does not fit, or the teacher has a guidance projection of another width.
    """
    # First a copy of the structure that shares all tensors, so that what goes is never copied.
    tensors = chain(teacher_unet.parameters(), teacher_unet.buffers())
    shared = copy.deepcopy(teacher_unet, {id(tensor): tensor for tensor in tensors})
    student = copy.deepcopy(apply(shared, plan, settle))
    if time_cond_proj_dim is not None:
        _add_guidance_projection(student, time_cond_proj_dim)
    return student.requires_grad_(requires_grad=True)


def build_random_student(student: Any, seed: int) -> Any:
    """Returns a trainable U-Net of a student's shape with diffusers' initial weights: nothing is the teacher's.

    Args:
        student: as `build_student` returns it; only its config is read.
        seed: of the weights.

    Raises:
        ValueError: the student's edits leave no stock config.
    """
    config = stock_config(student)
    if config is None:
        raise ValueError("student must have a stock config to be built with random weights, but its edits leave none.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(student).from_config(config).requires_grad_(requires_grad=True)


def _add_guidance_projection(unet: Any, width: int) -> None:
    present = unet.config.time_cond_proj_dim
    if present is not None:
        if present != width:
            raise ValueError(f"time_cond_proj_dim must be {present}, as the teacher already has it, not {width}.")
        return
    first = unet.time_embedding.linear_1
    projection = nn.Linear(width, first.in_features, bias=False, device=first.weight.device, dtype=first.weight.dtype)
    unet.time_embedding.cond_proj = projection
    nn.init.zeros_(projection.weight)
    unet.register_to_config(time_cond_proj_dim=width)


def initialised_from_teacher(student: Any, teacher_unet: Any, plan: Plan) -> int:
    """Returns how many of the student's tensors are the teacher's.

    They are compared by value, or by name and shape on the meta device; of a sliced tensor, what was kept.
    """
    ours, theirs = student.state_dict(), teacher_unet.state_dict()
    names = key_map(teacher_unet, plan)
    return sum(
        name in names and _same(tensor, plan.cut(names[name], theirs[names[name]])) for name, tensor in ours.items()
    )


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    if ours.is_meta or theirs.is_meta:
        return ours.shape == theirs.shape
    return torch.equal(ours, theirs)


def find_student(folder: Path | str) -> Path:
    """Returns the folder of the student that `folder` stands for: itself, the last student of a run, or a hub snapshot.

    Raises:
        ValueError: there is no student.
    """
    path = find_folder(str(folder), KIND)
    if (path / "unet").is_dir():
        return path
    if found := last_of_run(path, KIND):
        return found
    raise ValueError(f"student must be a pipeline folder or a run with a finished student, and {path} is neither.")


def last_of_run(path: Path, kind: str) -> Path | None:
    """Returns the folder of the last artifact of a kind among a run's stages, or None where there is none."""
    found = [artifacts.find(stage) for stage in sorted(path.iterdir()) if stage.is_dir()]
    students = [artifact for artifact in found if artifact is not None and artifact.kind == kind]
    parents = {parent for artifact in students for parent in artifact.parents}
    # The last one is the one from which no other was made; after a branch, the youngest.
    last = [artifact for artifact in students if artifact.id not in parents] or students
    return max((artifact.folder for artifact in last), key=_made, default=None)


def _made(folder: Path) -> int:
    return (folder / artifacts.FILE).stat().st_mtime_ns


def load_student(folder: Path | str, dtype: torch.dtype = torch.float32) -> LatentDiffusion:
    """Loads a student from an artifact folder, a run folder (its last student), a diffusers folder or a hub id.

    Guidance comes from `artifact.json`; without one it is embedded if the U-Net has a guidance projection, else cfg.

    Raises:
        ValueError: there is no student, or a part or tensor of it is missing.
    """
    path = find_student(folder)
    return load_parts(path, KIND, read_guidance(path), dtype)


def read_guidance(folder: Path) -> Guidance:
    """Returns a student's guidance: what `artifact.json` says, else embedded if the U-Net takes it, else cfg."""
    artifact = artifacts.find(folder)
    if artifact is not None and artifact.guidance is not None:
        written = artifact.guidance
        return Guidance(written["convention"], written["default"], tuple(written["range"]))
    takes_guidance = read_config(folder, "unet", KIND).get("time_cond_proj_dim") is not None
    return _EMBEDDED if takes_guidance else Guidance()
