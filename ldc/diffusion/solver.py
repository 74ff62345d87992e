"""The skipping-step DDIM solver with which a teacher jumps along its probability-flow ODE.

The solver has N start times t_{n+k} = (n + 1) T/N - 1, n = 0 .. N-1 (19, 39, .. 999 for N = 50, T = 1000), and jumps k
timesteps back, stopping at t = 0, whose alpha_bar_0 is used as it is (not 1): index 0 goes from 19 to 0.
Source: Luo et al. 2023, section 4.3 (skipping step) and eq. 13 (DDIM).

Legend: B batch, C latent channels, H x W latent size, T timesteps of the process, N solver steps, k skip, n index.
"""

import logging

from torch import Tensor

from ldc.diffusion.process import Process, at_least_float32

logger = logging.getLogger(__name__)


class SkippingStepDDIM:
    """One DDIM step over k timesteps: x_{t_n} = alpha_{t_n} x_0 + sigma_{t_n} eps (Song et al. 2021, eq. 12, eta = 0).

    Args:
        process: The noise schedule.
        num_steps: N, a divisor of T.
        skip: k in timesteps; T/N by default, so that every end is another index's start.

    Raises:
        ValueError: N does not divide T, or k is outside 1 .. T-1.
    """

    def __init__(self, process: Process, num_steps: int = 50, skip: int | None = None):
        num_timesteps = process.num_timesteps
        if not 1 <= num_steps <= num_timesteps or num_timesteps % num_steps:
            raise ValueError(f"num_solver_steps must divide the {num_timesteps} timesteps, not be {num_steps}.")
        self.process = process
        self.num_steps = num_steps
        self.spacing = num_timesteps // num_steps
        self.skip = self.spacing if skip is None else skip
        if not 1 <= self.skip < num_timesteps:
            raise ValueError(f"skip must be 1 to {num_timesteps - 1} timesteps, not {self.skip}.")
        if self.skip % self.spacing:
            # Knowledge of x_0 spreads from t = 0 upwards only if what is a target in one step is trained in another.
            message = (
                "skip %d is no multiple of the spacing %d, so ends are not trained as starts; consider %d solver steps"
            )
            logger.warning(message, self.skip, self.spacing, num_timesteps // self.skip)

    def start(self, index: Tensor) -> Tensor:
        """Returns t_{n+k}, (B,) int64, for indices n (B,)."""
        return (index + 1) * self.spacing - 1

    def end(self, index: Tensor) -> Tensor:
        """Returns t_n = max(t_{n+k} - k, 0), (B,) int64, for indices n (B,)."""
        return (self.start(index) - self.skip).clamp(min=0)

    def index(self, start: Tensor) -> Tensor:
        """Returns the indices n, (B,), whose start times are `start`: the inverse of `start`."""
        return (start + 1) // self.spacing - 1

    def step(self, x_0: Tensor, eps: Tensor, index: Tensor) -> Tensor:
        """Returns x_{t_n}, (B, C, H, W), from the clean latents and the noise that the teacher sees at t_{n+k}."""
        alpha, sigma = self.process.alpha_sigma(self.end(index), x_0)
        return alpha * at_least_float32(x_0) + sigma * at_least_float32(eps)
