"""LoRA adapters of a trained U-Net: saved as diffusers loads them, and merged into the weights for a stock folder."""

from pathlib import Path
from typing import Any


def save_adapters(folder: Path | str, unet: Any) -> Path:
    """Writes the adapters as `pytorch_lora_weights.safetensors`, which `pipeline.load_lora_weights(folder)` takes.

    Rank and alpha go with them, so that a pipeline on the base model, with this file at scale 1, is the student.

    Raises:
        ValueError: the U-Net has no adapters.
    """
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin  # noqa: PLC0415 - costs seconds
    from peft.utils.save_and_load import get_peft_model_state_dict  # noqa: PLC0415

    configs = getattr(unet, "peft_config", {})
    if not configs:
        raise ValueError(f"unet must have LoRA adapters to be saved, but this {type(unet).__name__} has none.")
    (config,) = configs.values()
    settings = config.to_dict().items()
    metadata = {name: sorted(value) if isinstance(value, set) else value for name, value in settings}
    # safetensors takes no channels_last.
    layers: dict[str, Any] = {
        name: tensor.detach().contiguous() for name, tensor in get_peft_model_state_dict(unet).items()
    }
    StableDiffusionLoraLoaderMixin.save_lora_weights(
        folder, unet_lora_layers=layers, unet_lora_adapter_metadata=metadata
    )
    return Path(folder)


def merge_adapters(unet: Any) -> Any:
    """Adds the adapters to the weights, W + (alpha / rank) B A, in place; what stays is a stock U-Net."""
    unet.fuse_lora()
    unet.unload_lora()
    return unet
