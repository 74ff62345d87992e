"""Distillation of a pruned language model from the logits of its parent (Hinton et al. 2015): an addition of ours.

    L = w_task task + w_logits T^2 / N sum_bl KL(softmax(z^P_bl / T) || softmax(z_bl / T))

Shortened LLaMA itself retrains on the texts' own tokens alone; see ldc.objectives.language_modelling for that term.

Legend: z, z^P logits of student and parent (B, L - 1, V), N labels, T temperature.
"""

from typing import Any

import torch
from torch import Tensor

from ldc.data.text import TokenBatch
from ldc.objectives.base import Networks, given, report
from ldc.objectives.language_modelling import LanguageModelling, token_mean


class LogitDistillation(LanguageModelling):
    """The loss above, for a student and a teacher that are `CausalScores`; it reports total, task and logits.

    The parent's logits are held once, in its own precision, the student's chunk by chunk.

    Args:
        temperature: T; T^2 keeps the gradient's size.
        task_weight, logits_weight: the weights in the total.

    Raises:
        ValueError: a setting is outside its range.
    """

    needs = ("teacher",)

    def __init__(
        self, temperature: float = 2.0, task_weight: float = 1.0, logits_weight: float = 1.0, *, seed: int = 0
    ):
        super().__init__(seed=seed)
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}.")
        self.temperature = temperature
        self.weights = {"task": task_weight, "logits": logits_weight}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(
                f"task_weight and logits_weight must not be negative, and one above 0, not {self.weights}."
            )

    def forward(self, networks: Networks, batch: TokenBatch) -> dict[str, Tensor]:
        """Returns total, task and logits, and what enters the total, scalars in float32."""
        teacher = given(networks.teacher, "teacher")
        with torch.no_grad():
            parent = teacher(batch.ids, batch.mask)  # (B, L - 1, V)
        sums = networks.student(batch.ids, batch.mask, batch.labels, parent, self.temperature)
        terms = {"task": token_mean(sums.task, sums.count), "logits": token_mean(sums.logits, sums.count)}
        return report(terms, self.weights)


def check_vocabulary(student: Any, teacher: Any) -> None:
    """Checks that student and parent, or their configs, give each token the same place in the logits.

    Raises:
        ValueError: their vocabularies have different sizes.
    """
    ours, theirs = (getattr(model, "config", model).vocab_size for model in (student, teacher))
    if ours != theirs:
        raise ValueError(f"teacher must have the student's vocabulary of {ours} tokens to distil from, not {theirs}.")
