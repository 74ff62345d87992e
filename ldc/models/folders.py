"""Reads StableDiffusionPipeline folders and hub ids into parts, strictly: a missing tensor is an error."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ldc.models.latent_diffusion import Guidance, LatentDiffusion, check_configs, check_parts, freeze

_PARTS = ("unet", "vae", "text_encoder")
_JSON = ["model_index.json", "scheduler/*", "tokenizer/*", *(f"{part}/*.json" for part in _PARTS)]
_WEIGHTS = (".safetensors", ".bin")


def find_folder(path_or_id: str, subject: str, revision: str | None = None, patterns: list[str] | None = None) -> Path:
    """Returns a local folder, or the local snapshot of a hub id, of which only the parts that are needed are fetched.

    Raises:
        ValueError: it is neither an existing folder nor a hub id that can be reached.
    """
    if Path(path_or_id).expanduser().is_dir():
        return Path(path_or_id).expanduser()
    rule = f"{subject} must be an existing folder or a hub id that can be reached, not {path_or_id!r}"
    if path_or_id.startswith((".", "/", "~")) or path_or_id.count("/") > 1:
        raise ValueError(f"{rule}.")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a local folder needs no hub client
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    options = {"revision": revision, "ignore_patterns": ["*.fp16.*", "*non_ema*"]}
    try:
        snapshot = Path(snapshot_download(path_or_id, allow_patterns=patterns or _patterns(".safetensors"), **options))
        if patterns is None and not any((snapshot / "unet").glob("*.safetensors")):
            snapshot = Path(snapshot_download(path_or_id, allow_patterns=_patterns(".bin"), **options))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ValueError(f"{rule} ({type(error).__name__}).") from error
    return snapshot


def _patterns(suffix: str) -> list[str]:
    return _JSON + [f"{part}/*{suffix}" for part in _PARTS]


def read_config(folder: Path, part: str, subject: str, file: str = "config.json") -> dict[str, Any]:
    """Returns a part's config as a dict.

    Raises:
        ValueError: the folder lacks it.
    """
    path = folder / part / file
    if not path.is_file():
        raise ValueError(f"{subject} must be a StableDiffusionPipeline folder, but {folder} has no {part}/{file}.")
    return json.loads(path.read_text())


def load_parts(
    folder: Path, subject: str, guidance: Guidance, dtype: torch.dtype, unet_dtype: torch.dtype | None = None
) -> LatentDiffusion:
    """Loads a pipeline folder: all parts frozen, in evaluation mode; the U-Net may have a precision of its own.

    Raises:
        ValueError: a part, its weights or some of its tensors are missing, or the parts do not belong together.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415 - check the folder first
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415
    from transformers.models.clip.modeling_clip import CLIPTextModel  # noqa: PLC0415
    from transformers.models.clip.tokenization_clip import CLIPTokenizer  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()  # a bar a part, within a second, says nothing
    scheduler_config = check_folder(folder, subject)
    unet = _load(UNet2DConditionModel, folder, "unet", subject, torch_dtype=unet_dtype or dtype)
    vae = _load(AutoencoderKL, folder, "vae", subject, torch_dtype=dtype)
    text_encoder = _load(CLIPTextModel, folder, "text_encoder", subject, dtype=dtype)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer") if (folder / "tokenizer").is_dir() else None
    parts = LatentDiffusion(unet, vae, text_encoder, tokenizer, scheduler_config, guidance, folder)
    check_parts(parts, subject)
    return parts


def check_conditions(unet_config: Mapping[str, Any], subject: str) -> None:
    """Checks that a U-Net is conditioned on text states alone.

    Raises:
        ValueError: it takes added conditions, as Stable Diffusion XL's, which comes with two text encoders.
    """
    for name in ("addition_embed_type", "class_embed_type"):
        kind = unet_config.get(name)
        if kind is not None:
            raise ValueError(
                f"{subject} must have a U-Net without added conditions, not with {name} {kind!r} (as Stable Diffusion "
                "XL's): such a U-Net can only be planned and counted, by ldc.prune with dry_run=true."
            )


def check_folder(folder: Path, subject: str) -> dict[str, Any]:
    """Checks that all parts and weight files are there, without loading them; returns the scheduler's config.

    Raises:
        ValueError: the folder lacks a part or its weights, its U-Net takes more than text, or by their configs the
            parts do not belong together.
    """
    configs = {}
    check_conditions(read_config(folder, "unet", subject), subject)
    for part in _PARTS:
        configs[part] = read_config(folder, part, subject)
        if not any(path.suffix in _WEIGHTS for path in (folder / part).iterdir()):
            raise ValueError(f"{subject} must have weights, but {folder / part} has no .safetensors or .bin file.")
    check_configs(configs["unet"], configs["vae"], configs["text_encoder"], subject)
    return read_config(folder, "scheduler", subject, "scheduler_config.json")


def _load(kind: Any, folder: Path, part: str, subject: str, **options: Any) -> Any:
    options = {"variant": variant_of(folder / part), "output_loading_info": True, "local_files_only": True, **options}
    try:
        model, info = kind.from_pretrained(folder, subfolder=part, **options)
    except (ValueError, RuntimeError) as error:  # how the libraries refuse tensors of other shapes, among others
        reason = str(error).splitlines()[0].partition(". If you want")[0].rstrip(".")
        raise ValueError(f"{subject} must have the {part} of its config, but in {folder}: {reason}.") from error
    # Missing tensors would only be warned of and stay uninitialised.
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"{subject} must have every tensor of its {part}, but {folder} lacks {len(missing)}, first {missing[0]!r}."
        )
    return freeze(model)


def variant_of(folder: Path) -> str | None:
    """Returns "fp16" where a part's weights are there under that variant's names alone, else None."""
    names = [path.name for path in folder.iterdir() if path.suffix in _WEIGHTS]
    return "fp16" if names and all(".fp16" in name for name in names) else None
