"""Teachers: loaded from a local folder or the hub, or built from embedded configs with random weights."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ldc.models.architectures import Architecture, architecture
from ldc.models.folders import check_conditions, check_folder, find_folder, load_parts, read_config
from ldc.models.latent_diffusion import DEFAULT_GUIDANCE, Guidance, LatentDiffusion, check_parts, freeze

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """What a teacher config says.

    path_or_id: a StableDiffusionPipeline folder or a hub id.
    weights: "pretrained", or "random" to build the parts of `architecture` here, without a tokenizer.
    architecture: name of embedded configs (see ldc.models.architectures), None for folders that bring their own.
    guidance: as diffusers' `guidance_scale`; its range is also what few-step students of this teacher are trained on.
    seed: of the random weights.
    """

    path_or_id: str
    weights: str = "pretrained"
    architecture: str | None = None
    revision: str | None = None
    guidance: Guidance = DEFAULT_GUIDANCE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.weights not in {"pretrained", "random"}:
            raise ValueError(f"weights must be pretrained or random, not {self.weights!r}.")


def load_teacher(
    spec: Teacher, dtype: torch.dtype = torch.float32, unet_dtype: torch.dtype | None = None
) -> LatentDiffusion:
    """Returns the teacher's parts, frozen, in evaluation mode, on the CPU.

    Args:
        spec: what the teacher's config says.
        dtype: of the parts.
        unet_dtype: of the U-Net, where it is another: weights that are read are never held in `dtype`.

    Raises:
        ValueError: the folder or hub id cannot be loaded, there are no embedded configs of that name, or they are those
            of a U-Net that takes more than text.
    """
    if spec.architecture is not None and (spec.weights == "random" or not _is_folder(spec)):
        check_conditions(architecture(spec.architecture).unet, "teacher")  # before anything is downloaded
    if spec.weights == "random":
        return _build(architecture(spec.architecture), spec, dtype, unet_dtype)
    folder = find_folder(spec.path_or_id, "teacher", spec.revision)
    return load_parts(folder, "teacher", spec.guidance, dtype, unet_dtype)


def check_teacher(spec: Teacher) -> None:
    """Checks in moments that `load_teacher` would find its parts; a hub id is only asked for its U-Net's config.

    Raises:
        ValueError: as `load_teacher`, as far as can be told without loading weights.
    """
    if spec.weights != "random" and _is_folder(spec):
        check_folder(Path(spec.path_or_id).expanduser(), "teacher")
        return
    check_conditions(part_config(spec, "unet"), "teacher")
    if spec.weights != "random":
        find_folder(spec.path_or_id, "teacher", spec.revision, ["unet/config.json"])


def _is_folder(spec: Teacher) -> bool:
    return Path(spec.path_or_id).expanduser().is_dir()


def meta_unet(spec: Teacher) -> Any:
    """Returns the teacher's U-Net on the meta device, for counts and plans.

    Its config is the folder's, where there is a folder; else the embedded one; else the hub's.

    Raises:
        ValueError: the config cannot be found.
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415 - costs seconds

    with torch.device("meta"):
        return freeze(UNet2DConditionModel.from_config(part_config(spec, "unet")))


def text_tokens(spec: Teacher) -> int:
    """Returns the number of text states that the teacher's U-Net is given."""
    return int(part_config(spec, "text_encoder").get("max_position_embeddings", 77))


def part_config(spec: Teacher, part: str) -> dict[str, Any]:
    """Returns the config of the teacher's "unet", "vae", "text_encoder" or "scheduler", without loading weights.

    Raises:
        ValueError: it cannot be found.
    """
    if spec.architecture is not None and (spec.weights == "random" or not _is_folder(spec)):
        return dict(getattr(architecture(spec.architecture), part))
    file = "scheduler_config.json" if part == "scheduler" else "config.json"
    folder = find_folder(spec.path_or_id, "teacher", spec.revision, [f"{part}/{file}"])
    return read_config(folder, part, "teacher", file)


def _build(configs: Architecture, spec: Teacher, dtype: torch.dtype, unet_dtype: torch.dtype | None) -> LatentDiffusion:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415 - costs seconds
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415
    from transformers.models.clip.configuration_clip import CLIPTextConfig  # noqa: PLC0415
    from transformers.models.clip.modeling_clip import CLIPTextModel  # noqa: PLC0415

    logger.info(
        "The teacher %s is built with random weights (seed %d), without a tokenizer.", spec.architecture, spec.seed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        unet = freeze(UNet2DConditionModel.from_config(configs.unet)).to(unet_dtype or dtype)
        vae = freeze(AutoencoderKL.from_config(configs.vae)).to(dtype)
        text_encoder = freeze(CLIPTextModel(CLIPTextConfig(**configs.text_encoder))).to(dtype)
    parts = LatentDiffusion(unet, vae, text_encoder, None, dict(configs.scheduler), spec.guidance)
    check_parts(parts, "teacher")
    return parts
