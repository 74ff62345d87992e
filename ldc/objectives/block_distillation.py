"""Block-level distillation of a pruned student: task, output and feature losses (Kim et al. 2023, BK-SDM, eq. 1-4).

    L_task    = mean((S(x_t, t, c) - target)^2)
    L_output  = mean((S - T)^2)
    L_feature = sum over points l of mean((f_S^l - f_T^l)^2)
    L         = w_task L_task + w_output L_output + w_feature L_feature          (the paper: all weights 1)

Legend: S student, T teacher, f^l feature at point l, c text states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldc.data.batch import LatentBatch
from ldc.diffusion.process import Process
from ldc.objectives.base import (
    Draws,
    Networks,
    Objective,
    feature_losses,
    given,
    mean_squared_error,
    predict,
    report,
)


class BlockDistillation(Objective):
    """The three BK-SDM losses on one (x_t, t, c) for student and teacher.

    Args:
        process: The noise schedule.
        points: Pairs (teacher point, student point); may be empty.
        task_weight, output_weight, feature_weight: The weights in the total.
        normalise_features: Divide each point's error by the mean of the squared teacher feature. `feature/<point>`
            stays the plain error; `weighted/feature/<point>` is what enters the total.
        seed: Seed of the draws.
    """

    needs = ("teacher",)

    def __init__(
        self,
        process: Process,
        points: Sequence[tuple[str, str]],
        task_weight: float = 1.0,
        output_weight: float = 1.0,
        feature_weight: float = 1.0,
        *,
        normalise_features: bool = False,
        seed: int = 0,
    ):
        super().__init__(process, seed)
        self.weights = {"task": task_weight, "output": output_weight, "feature": feature_weight}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"loss weights must be at least 0 and not all 0, not {self.weights}.")
        self.points = [(teacher, student) for teacher, student in points]
        self.teacher_points = tuple(teacher for teacher, _ in self.points)
        self.student_points = tuple(student for _, student in self.points)
        self.normalise_features = normalise_features

    def losses(self, networks: Networks, batch: LatentBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns total, task, output, feature, feature/<student point> and their weighted forms, scalars."""
        inputs = (self.process.noisy(batch.latents, draws.noise, draws.timesteps), draws.timesteps, batch.text)
        with torch.no_grad():  # first, so that the teacher's activations are gone before the student's are kept
            teacher_network = given(networks.teacher, "networks.teacher")
            teacher, teacher_features = predict(teacher_network, *inputs, points=self.teacher_points)
        student, student_features = predict(networks.student, *inputs, points=self.student_points)
        terms = {
            "task": mean_squared_error(student, self.process.target(batch.latents, draws.noise, draws.timesteps)),
            "output": mean_squared_error(student, teacher),
        }
        if not self.points:
            return report(terms, self.weights)
        compared = feature_losses(student_features, teacher_features, self.points, normalise=self.normalise_features)
        return report(terms, self.weights, features=compared)
