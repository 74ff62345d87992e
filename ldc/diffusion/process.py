"""The forward diffusion process and the conversions between what a network may predict.

x_t = alpha_t x_0 + sigma_t eps, with alpha_t = sqrt(alpha_bar_t) and sigma_t = sqrt(1 - alpha_bar_t); a network
answers with eps ("epsilon"), v = alpha_t eps - sigma_t x_0 ("v_prediction", Salimans and Ho 2022, Appendix D) or x_0
("sample").

Legend: B batch, C latent channels, H x W latent size, T number of timesteps; t is the integer timestep.
"""

from collections.abc import Mapping
from typing import Any, Self

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def at_least_float32(x: Tensor) -> Tensor:
    """Returns `x` in float32, or unchanged where it already is float32 or float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Returns `values` (B,) shaped (B, 1, ..., 1) so that they scale the samples of `like` (B, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


class Process:
    """The noise schedule of a teacher, shared by every objective.

    All arithmetic is done, and returned, in the input's precision but at least in float32.

    Args:
        alphas_cumprod: alpha_bar_t, (T,).
        prediction_type: What the networks answer with; one of `PREDICTION_TYPES`.

    Raises:
        ValueError: The prediction type is unknown.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction_type: str = "epsilon"):
        if prediction_type not in PREDICTION_TYPES:
            raise ValueError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type!r}.")
        self.alphas_cumprod = alphas_cumprod  # (T,)
        self.prediction_type = prediction_type
        # A table per device and precision: a copy from the host in each step would wait for the device.
        self._tables: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    @classmethod
    def from_config(cls, scheduler_config: Mapping[str, Any]) -> Self:
        """Builds the process of a diffusers scheduler's config, with its float32 alpha_bar_t to the last bit."""
        scheduler: Any = DDPMScheduler.from_config(dict(scheduler_config))
        return cls(scheduler.alphas_cumprod, scheduler.config.prediction_type)

    @property
    def num_timesteps(self) -> int:
        """T."""
        return len(self.alphas_cumprod)

    def noisy(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Returns x_t, (B, C, H, W), for t (B,)."""
        alpha, sigma = self.alpha_sigma(t, x_0)
        return alpha * at_least_float32(x_0) + sigma * at_least_float32(eps)

    def target(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Returns what a perfect network answers at x_t, (B, C, H, W)."""
        x_0, eps = at_least_float32(x_0), at_least_float32(eps)
        if self.prediction_type == "epsilon":
            return eps
        if self.prediction_type == "sample":
            return x_0
        alpha, sigma = self.alpha_sigma(t, x_0)
        return alpha * eps - sigma * x_0

    def x_0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Returns the clean latents that a network's output at x_t stands for, (B, C, H, W)."""
        output, x_t = at_least_float32(output), at_least_float32(x_t)
        if self.prediction_type == "sample":
            return output
        alpha, sigma = self.alpha_sigma(t, x_t)
        if self.prediction_type == "epsilon":
            return (x_t - sigma * output) / alpha
        return alpha * x_t - sigma * output

    def eps(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Returns the noise that a network's output at x_t stands for, (B, C, H, W)."""
        output, x_t = at_least_float32(output), at_least_float32(x_t)
        if self.prediction_type == "epsilon":
            return output
        alpha, sigma = self.alpha_sigma(t, x_t)
        if self.prediction_type == "v_prediction":
            return alpha * output + sigma * x_t
        return (x_t - alpha * output) / sigma

    def alpha_sigma(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Returns alpha_t and sigma_t, (B, 1, 1, 1), on the device of `like` and in its precision, at least float32."""
        key = (like.device, torch.promote_types(like.dtype, torch.float32))
        if key not in self._tables:
            self._tables[key] = self.alphas_cumprod.to(*key)
        alpha_bar = self._tables[key][t]
        return per_sample(alpha_bar.sqrt(), like), per_sample((1 - alpha_bar).sqrt(), like)
