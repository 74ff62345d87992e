"""Where the work goes that no Trainer places: encoding and evaluating."""

from typing import Any

import torch

from ldc.models import LatentDiffusion

_MEANING = {"gpu": ("cuda", "mps"), "auto": ("cuda", "mps", "cpu")}


def device_of(accelerator: str) -> torch.device:
    """Returns the device that the trainer's word means: cpu, cuda, mps, gpu (either of these), auto (the best).

    Raises:
        ValueError: this machine has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    found = [name for name in _MEANING.get(accelerator, (accelerator,)) if present.get(name)]
    if not found:
        known = [*(name for name, is_there in present.items() if is_there), "auto"]
        raise ValueError(f"loader.device must be {' or '.join(known)} on this machine, not {accelerator!r}.")
    return torch.device(found[0])


def move(model: LatentDiffusion, device: torch.device) -> LatentDiffusion:
    """Puts all parts of a model on the device; returns it."""
    parts: list[Any] = [model.unet, model.vae, model.text_encoder]
    for part in parts:
        part.to(device)
    return model
