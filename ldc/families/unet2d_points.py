"""Where a U-Net's features are compared in distillation: pairs (teacher's module, student's module).

Kim et al. 2023 (BK-SDM): the output of every stage, taken after its sampler. A stage that loses its sampler has no
such output at the student; there the last attention's projection is compared, before its residual is added.
"""

from typing import Any

from ldc.families.unet2d import Stage, stages
from ldc.surgery import Plan


def feature_points(teacher: Any, plan: Plan) -> list[tuple[str, str]]:
    """Returns the pairs for the student that `plan` makes from `teacher` (on any device, unedited).

    The order is that of the published code: up stages first, or down stages first if the plan drops a stage.

    Raises:
        ValueError: the teacher is not a U-Net of (resnet, attention) pairs.
    """
    down, up = stages(teacher, "down"), stages(teacher, "up")
    dropped = any(plan.rename(stage.path) is None for stage in down + up)
    pairs = [_pair(stage, plan) for stage in (down + up if dropped else up + down)]
    return [pair for pair in pairs if pair is not None]


def _pair(stage: Stage, plan: Plan) -> tuple[str, str] | None:
    student = plan.rename(stage.path)
    if student is None:
        return None
    if not any(plan.detaches(f"{stage.path}.{sampler}") for sampler in ("downsamplers", "upsamplers")):
        return stage.path, student
    last = stage.lists[-1]
    leaf = ".proj_out" if last == "attentions" else ""
    kept = plan.kept(f"{stage.path}.{last}", stage.pairs)
    return f"{stage.path}.{last}.{stage.pairs - 1}{leaf}", f"{student}.{last}.{len(kept) - 1}{leaf}"
