"""What the benchmarks at a published architecture's size share: their settings, the case of a method, its networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ldc.runtime.benchmarks.cases import Case, build_case
from ldc.runtime.benchmarks.fitted import How
from ldc.runtime.benchmarks.scaling import materialised, scaled


@dataclass(frozen=True, kw_only=True)
class SizedBenchmark:
    """conf/benchmark/{full_size,gpu}.yaml say what each setting means."""

    architecture: str
    scale: int
    methods: Mapping[str, Any]
    how: Mapping[str, Any]
    warmup: int
    steps: int
    seed: int

    def how_of(self, batch_size: int) -> How:
        """Returns how a fit of this batch size runs."""
        return How(**self.how, warmup=self.warmup, steps=self.steps, batch_size=batch_size)

    def case(self, name: str) -> Case:
        """Returns a method's objective and networks, these on the meta device."""
        return build_case(name, self.methods[name], scaled(self.architecture, self.scale), self.seed)


def networks(case: Case, how: How, seed: int) -> tuple[Any, Any]:
    """Returns student (float32) and teacher with random weights; the teacher is made in its final precision at once."""
    torch.manual_seed(seed)
    teacher_dtype = getattr(torch, how.teacher_dtype) if how.teacher_dtype else torch.float32
    return materialised(case.student), materialised(case.teacher, teacher_dtype)
