"""Writes a student as a StableDiffusionPipeline folder that stock diffusers loads."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ldc.families.unet2d import stock_config
from ldc.families.unet2d_config import stock_tensors
from ldc.models.folders import variant_of
from ldc.models.latent_diffusion import LatentDiffusion
from ldc.permissions import share_weights
from ldc.surgery import Plan

logger = logging.getLogger(__name__)

PLAN_FILE = "plan.json"
_FROZEN = ("vae", "text_encoder", "tokenizer")


def save_student(
    folder: Path | str,
    unet: Any,
    plan: Plan,
    teacher: LatentDiffusion,
    *,
    frozen: str = "link",
    consistency: bool | None = None,
    original_inference_steps: int = 50,
) -> Path:
    """Writes unet/, scheduler/, vae/, text_encoder/, tokenizer/, model_index.json and plan.json; returns the folder.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        unet: a U-Net with a stock config.
        plan: the plan that made it, on the teacher's names.
        teacher: gives the frozen parts, from its folder where it has one.
        frozen: "link" hard-links the frozen parts (copies across devices), "copy" copies them.
        consistency: whether sampling is LCM's; None: if the U-Net has a guidance projection.
        original_inference_steps: solver steps that a consistency student was trained on.

    Raises:
        ValueError: the U-Net is not a stock one, or what was written is not what stock diffusers would load.
    """
    if frozen not in {"link", "copy"}:
        raise ValueError(f"frozen must be link or copy, not {frozen!r}.")
    config = stock_config(unet)
    if config is None:
        raise ValueError("unet must have a stock config to be saved as a diffusers folder, but its edits leave none.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unet.register_to_config(_name_or_path="")  # the config must not name this machine's folders
    unet.save_pretrained(folder / "unet", safe_serialization=True)
    _check_written(folder / "unet", type(unet))
    if consistency is None:
        consistency = unet.config.time_cond_proj_dim is not None
    scheduler = teacher.scheduler_config
    if consistency:
        scheduler = lcm_scheduler(scheduler, original_inference_steps)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    for part in _FROZEN:
        _save_frozen(folder / part, part, teacher, frozen)
    _write_json(folder / "model_index.json", _model_index(unet, teacher, scheduler))
    share_weights(folder)
    plan.save(folder / PLAN_FILE)
    return folder


def _check_written(folder: Path, kind: Any) -> None:
    """Compares the written names and shapes with the stock U-Net of the written config."""
    expected = stock_tensors(kind, json.loads((folder / "config.json").read_text()))
    written: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            written |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
    if written != expected:
        different = sorted(name for name in written.keys() | expected if written.get(name) != expected.get(name))
        raise ValueError(
            f"{folder} must hold the tensors of its config, but {len(different)} differ, first {different[0]!r}."
        )


def lcm_scheduler(scheduler_config: dict[str, Any], original_inference_steps: int = 50) -> dict[str, Any]:
    """Returns the config of the LCMScheduler with a teacher's noise schedule."""
    from diffusers.schedulers.scheduling_lcm import LCMScheduler  # noqa: PLC0415 - costs seconds

    # Clipping is for pixels; a teacher trained with DDPMScheduler's default would pass it on to latents.
    # LCM does not read steps_offset; the pipeline warns of any but 1.
    changes = {
        "original_inference_steps": original_inference_steps,
        "clip_sample": False,
        "thresholding": False,
        "steps_offset": 1,
    }
    scheduler: Any = LCMScheduler.from_config(scheduler_config, **changes)
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    kept = {key: config[key] for key in LCMScheduler._get_init_keys(LCMScheduler) if key in config}  # noqa: SLF001
    return {"_class_name": "LCMScheduler", **dict(sorted(kept.items()))}


def _save_frozen(folder: Path, part: str, teacher: LatentDiffusion, frozen: str) -> None:
    model = getattr(teacher, part)
    if model is None:
        return
    if teacher.folder is None:
        model.save_pretrained(folder)
    else:
        source = teacher.folder / part
        variant = variant_of(source)  # the student's folder is none: stock pipelines look for the plain names
        for path in sorted(source.rglob("*")):
            if path.is_file():
                name = path.name if variant is None else path.name.replace(f".{variant}", "")
                _place(path, folder / path.relative_to(source).with_name(name), frozen)
    if part == "text_encoder":
        _compute_in_float32(folder / "config.json")


def _compute_in_float32(config: Path) -> None:
    # transformers loads what was saved in half precision as such, diffusers in float32: a pipeline would hold both.
    content = json.loads(config.read_text())
    if content.pop("torch_dtype", content.get("dtype")) != "float32":
        config.unlink()  # a hard link: the teacher keeps its own
        _write_json(config, content | {"dtype": "float32"})


def _place(source: Path, target: Path, frozen: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    if frozen == "link":
        try:
            os.link(source.resolve(), target)  # a hub snapshot holds symbolic links: link what they point to
        except OSError as error:
            logger.info("%s is copied, because it cannot be hard-linked: %s.", source, error)
        else:
            return
    shutil.copyfile(source, target)


def _model_index(unet: Any, teacher: LatentDiffusion, scheduler: dict[str, Any]) -> dict[str, Any]:
    import diffusers  # noqa: PLC0415 - already imported by whoever made the U-Net

    nothing = [None, None]
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": nothing,
        "image_encoder": nothing,
        "requires_safety_checker": False,
        "safety_checker": nothing,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": ["transformers", type(teacher.text_encoder).__name__],
        "tokenizer": nothing if teacher.tokenizer is None else ["transformers", type(teacher.tokenizer).__name__],
        "unet": ["diffusers", type(unet).__name__],
        "vae": ["diffusers", type(teacher.vae).__name__],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
