"""What a fit needs of its teacher and of earlier stages, told from configs before any weight is loaded."""

import logging
from pathlib import Path

from hydra.utils import get_class
from omegaconf import DictConfig

from ldc.models import LatentDiffusion, Teacher, meta_unet, part_config
from ldc.runtime.stage_settings import StageSettingError

log = logging.getLogger(__name__)


def meta_teacher(spec: Teacher) -> LatentDiffusion:
    """Returns what of a teacher is known without its weights: the U-Net on the meta device, schedule and guidance.

    Raises:
        ValueError: a config cannot be found, or the teacher is a consistency model, whose embedded guidance no
            objective gives.
    """
    unet = meta_unet(spec)
    width = unet.config.time_cond_proj_dim
    if width is not None:
        raise ValueError(
            f"teacher must have no guidance embedding, but {spec.path_or_id} is a few-step model (time_cond_proj_dim "
            f"{width}): take the model that it was made from."
        )
    return LatentDiffusion(unet, None, None, None, part_config(spec, "scheduler"), spec.guidance)


def warn_of_size(spec: Teacher, size: int) -> None:
    """Says so where images of `size` pixels have other latents than the teacher's U-Net was made for."""
    factor = 2 ** (len(part_config(spec, "vae")["block_out_channels"]) - 1)
    wanted = part_config(spec, "unet").get("sample_size")
    if isinstance(wanted, int) and size // factor != wanted:
        log.warning(
            "data.size %d gives %d x %d latents, but the teacher was made for %d x %d (data.size=%d).",
            *(size, size // factor, size // factor, wanted, wanted, wanted * factor),
        )


def check_kind(cfg: DictConfig, key: str, name: str, kind: str) -> None:
    """Raises StageSettingError where the stage that `key` names does not exist, or makes something else than `kind`."""
    if name not in cfg.stages:
        raise StageSettingError(f"{key} must name a stage that makes {kind}, and {name!r} is no stage.")
    found = get_class(cfg.stages[name]["_target_"]).kind
    if found != kind:
        raise StageSettingError(f"{key} must name a stage that makes {kind}, not {name!r}, which makes {found}.")


def check_tokenizer(spec: Teacher, *, dry_run: bool) -> None:
    """Checks that the teacher can encode captions; a dry run, which needs no weights either, only warns.

    Raises:
        ValueError: it has no tokenizer.
    """
    folder = Path(spec.path_or_id).expanduser()
    if spec.weights == "random":
        message = "teacher.weights must be pretrained to encode captions, not random, which has no tokenizer."
    elif folder.is_dir() and not (folder / "tokenizer").is_dir():
        message = f"teacher must have a tokenizer to encode captions, but {folder} has none."
    else:
        return
    if not dry_run:
        raise ValueError(message)
    log.warning("A run would stop here: %s", message)
