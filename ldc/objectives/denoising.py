"""Plain diffusion training: the task loss alone (Ho et al. 2020, eq. 14; v-prediction as Salimans and Ho 2022)."""

from torch import Tensor

from ldc.data.batch import LatentBatch
from ldc.objectives.base import Draws, Networks, Objective, mean_squared_error, predict, report


class Denoising(Objective):
    """L = mean((S(x_t, t, c) - target)^2), the target being eps, v or x_0 by the process."""

    def losses(self, networks: Networks, batch: LatentBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns total and task, scalars."""
        x_t = self.process.noisy(batch.latents, draws.noise, draws.timesteps)
        output, _ = predict(networks.student, x_t, draws.timesteps, batch.text)
        target = self.process.target(batch.latents, draws.noise, draws.timesteps)
        return report({"task": mean_squared_error(output, target)}, {"task": 1.0})
