"""Draws latents from a U-Net with diffusers' schedulers: DDIM for teachers and distilled students, LCM for few steps.

Legend: B images, C latent channels, H x W latent size, L tokens, D text width.

All randomness is given from outside, one seed an image, so an image does not depend on the batch it is drawn in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from torch import Tensor

from ldc import randomness
from ldc.diffusion.consistency import guidance_embedding

METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"timestep_spacing": "trailing"}),
    "lcm": (LCMScheduler, {}),
}
CONVENTIONS = ("cfg", "embedded", "none")
# What describes the diffusion process; the rest of a scheduler's config describes a sampler, which `method` chooses.
_PROCESS_KEYS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "rescale_betas_zero_snr", "set_alpha_to_one", "original_inference_steps", "timestep_scaling",
)  # fmt: skip


def default_method(scheduler_config: Mapping[str, Any]) -> str:
    """Returns "lcm" for a config that LCMScheduler saved, else "ddim"."""
    return "lcm" if scheduler_config.get("_class_name") == "LCMScheduler" else "ddim"


def initial_noise(seed: int, indices: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Returns x_T, (B, *shape) float32: a pure function of the seed and each image's index."""
    return randomness.normal(seed, "sampling/initial", indices, shape)


def fresh_noise_seeds(seed: int, indices: Sequence[int]) -> list[int]:
    """Returns one seed an image for the noises that LCM adds between its steps."""
    return randomness.integers(seed, "sampling/fresh", indices, 2**63 - 1).tolist()


@torch.no_grad()
def sample(
    unet: Any,
    scheduler_config: Mapping[str, Any],
    *,
    text: Tensor,
    empty_text: Tensor,
    noise: Tensor,
    steps: int,
    guidance_scale: float,
    convention: str = "cfg",
    seeds: Sequence[int] | None = None,
    method: str = "ddim",
    init_latents: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Runs the sampler and returns scaled latents, (B, C, H, W) float32.

    Args:
        unet: a conditional U-Net of diffusers' interface; the sampler's own arithmetic is in float32.
        scheduler_config: of any diffusers scheduler; only what describes the process is used.
        text: (B, L, D) states of the captions.
        empty_text: (1, L, D) states of "", for classifier-free guidance.
        noise: (B, C, H, W) x_T, or what is mixed into `init_latents`.
        steps: of the whole schedule; DDIM from `init_latents` runs floor(steps x strength) of them, as diffusers does.
        guidance_scale: diffusers' scale; LCM's w is scale - 1.
        convention: "cfg" (conditional and empty pass in one batch), "embedded" (w goes into the U-Net) or "none".
        seeds: one an image for LCM's fresh noise; only a single LCM step and DDIM can do without.
        method: "ddim" (eta 0, trailing spacing: starts at the last timestep) or "lcm".
        init_latents: (B, C, H, W) scaled latents to start from (image to image).
        strength: in (0, 1], how much of `init_latents` is replaced.

    Raises:
        ValueError: an unknown method or convention, steps or a strength out of range, missing seeds, or a U-Net
            without guidance embedding for "embedded".
    """
    scheduler = _scheduler(scheduler_config, method)
    # They stay on the CPU, as the scheduler's tables do: reading a device's timestep would wait for it at every step.
    timesteps = _timesteps(scheduler, method, steps, strength if init_latents is not None else 1.0)
    latents = noise.float()
    if init_latents is not None and strength < 1.0:
        latents = scheduler.add_noise(init_latents.to(latents), latents, timesteps[:1].expand(len(latents)))
    predict = _predictor(unet, text, empty_text, guidance_scale, convention)
    options = _fresh_noise(method, len(timesteps), seeds, len(latents))
    for t in timesteps:
        latents = scheduler.step(predict(latents, t), t, latents, **options).prev_sample
    return latents


def _scheduler(config: Mapping[str, Any], method: str) -> Any:
    if method not in METHODS:
        raise ValueError(f"method must be ddim or lcm, not {method!r}.")
    scheduler, options = METHODS[method]
    known = {key: config[key] for key in _PROCESS_KEYS if config.get(key) is not None}
    # Latents are not bounded as pixels are: DDIM's default would clip them to [-1, 1].
    return scheduler.from_config({**known, "clip_sample": False, **options})


def _timesteps(scheduler: Any, method: str, steps: int, strength: float) -> Tensor:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}.")
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"strength must be in (0, 1], not {strength}.")
    if method == "lcm":
        available = int(scheduler.config.original_inference_steps * strength)
        if steps > available:
            raise ValueError(f"steps must be at most {available} for lcm at strength {strength}, not {steps}.")
        scheduler.set_timesteps(steps, strength=strength)
        return scheduler.timesteps
    scheduler.set_timesteps(steps)
    kept = int(steps * strength)
    if kept < 1:
        raise ValueError(f"steps x strength must be at least 1, not {steps} x {strength}.")
    # Rounding of diffusers' arange yields one timestep too many (t = -1) for some numbers of steps, as 61.
    return scheduler.timesteps[:steps][steps - kept :]


def _fresh_noise(method: str, num_steps: int, seeds: Sequence[int] | None, batch_size: int) -> dict[str, Any]:
    if method != "lcm" or num_steps == 1:
        return {}
    if seeds is None or len(seeds) != batch_size:
        given = "none" if seeds is None else len(seeds)
        raise ValueError(f"seeds must hold one seed for each of the {batch_size} images, not {given}.")
    return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}


def _predictor(unet: Any, text: Tensor, empty_text: Tensor, guidance_scale: float, convention: str) -> Any:
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be cfg, embedded or none, not {convention!r}.")
    dtype = next(unet.parameters()).dtype
    guided = convention == "cfg" and guidance_scale != 1.0
    states = torch.cat([empty_text.expand_as(text), text]).to(dtype) if guided else text.to(dtype)
    condition = _embedding(unet, guidance_scale, len(text), text.device, dtype) if convention == "embedded" else None

    def predict(latents: Tensor, t: Tensor) -> Tensor:
        inputs = torch.cat([latents, latents]) if guided else latents
        output = unet(inputs.to(dtype), t.to(latents.device), states, timestep_cond=condition, return_dict=False)[
            0
        ].float()
        if not guided:
            return output
        unconditional, conditional = output.chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    return predict


def _embedding(unet: Any, guidance_scale: float, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    dim = unet.config.time_cond_proj_dim
    if dim is None:
        raise ValueError("convention 'embedded' must have a U-Net with time_cond_proj_dim, not one without.")
    w = torch.full((batch_size,), guidance_scale - 1.0)
    return guidance_embedding(w, dim).to(device, dtype)  # (B, dim)
