"""LoRA adapters of trained networks: saved as diffusers or peft loads them, and merged into the weights."""

import copy
from pathlib import Path
from typing import Any

from ldc.permissions import share_weights


def save_adapters(folder: Path | str, unet: Any) -> Path:
    """Writes the adapters as `pytorch_lora_weights.safetensors`, which `pipeline.load_lora_weights(folder)` takes.

    Rank and alpha go with them, so that a pipeline on the base model, with this file at scale 1, is the student.

    Raises:
        ValueError: the U-Net has no adapters.
    """
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin  # noqa: PLC0415 - costs seconds
    from peft.utils.save_and_load import get_peft_model_state_dict  # noqa: PLC0415

    settings = the_config(unet, "unet").to_dict().items()
    metadata = {name: sorted(value) if isinstance(value, set) else value for name, value in settings}
    # safetensors takes no channels_last.
    layers: dict[str, Any] = {
        name: tensor.detach().contiguous() for name, tensor in get_peft_model_state_dict(unet).items()
    }
    StableDiffusionLoraLoaderMixin.save_lora_weights(
        folder, unet_lora_layers=layers, unet_lora_adapter_metadata=metadata
    )
    return Path(folder)


def merge_adapters(network: Any) -> Any:
    """Adds the adapters to the weights, W + (alpha / rank) B A, in place and in their precision.

    What stays is a stock U-Net or language model.
    """
    if hasattr(network, "fuse_lora"):  # diffusers
        network.fuse_lora()
        network.unload_lora()
        return network
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415 - costs seconds

    for name, layer in list(network.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer.get_base_layer())
    del network.peft_config
    return network


def save_language_adapters(folder: Path | str, model: Any, base: str | None = None) -> Path:
    """Writes the adapters of a language model as `PeftModel.from_pretrained(base model, folder)` takes them.

    Args:
        folder: gets `adapter_config.json` and `adapter_model.safetensors`.
        model: with adapters.
        base: folder or hub id of the model that they belong to.

    Raises:
        ValueError: the model has no adapters.
    """
    from peft.utils.save_and_load import get_peft_model_state_dict  # noqa: PLC0415 - costs seconds
    from safetensors.torch import save_file  # noqa: PLC0415

    config = copy.deepcopy(the_config(model, "model"))
    config.base_model_name_or_path, config.task_type, config.inference_mode = base, "CAUSAL_LM", True
    layers = get_peft_model_state_dict(model, save_embedding_layers=False)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    weights = {f"base_model.model.{name}": tensor.detach().contiguous() for name, tensor in layers.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    share_weights(folder)
    return folder


def the_config(network: Any, name: str) -> Any:
    """Returns the config of the network's adapters.

    Raises:
        ValueError: it has none.
    """
    configs = getattr(network, "peft_config", {})
    if not configs:
        raise ValueError(f"{name} must have LoRA adapters to be saved, but this {type(network).__name__} has none.")
    (config,) = configs.values()
    return config
