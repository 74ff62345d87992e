"""What a plan makes of a teacher, told on the meta device: counts, and a table that a person can read."""

import logging
from typing import Any

from ldc.families import plan_rows, plan_table, stock_config
from ldc.models import Teacher, build_student, initialised_from_teacher, meta_unet, part_config, text_tokens
from ldc.models.folders import check_conditions
from ldc.profiling import macs, params, tensors
from ldc.surgery import Plan

log = logging.getLogger(__name__)


def plan_student(spec: Teacher, pruner: Any) -> tuple[Plan, dict[str, Any]]:
    """Returns the pruner's plan for the teacher and a summary; the stages' table goes to the log. No weights are read.

    The summary has the student's counts, the same of the teacher under "teacher", "stock", "plan", "stages" (see
    `plan_rows`), "initialised_from_teacher", and "not_supported" where the plan is all that can be had.

    Raises:
        ValueError: the teacher's config cannot be found, or the plan does not fit its topology.
    """
    teacher = meta_unet(spec)
    plan = pruner.plan(teacher)
    student = build_student(teacher, plan)
    rows = plan_rows(teacher, student, plan)
    before, after = _counts(teacher, spec), _counts(student, spec)
    log.info("%s", plan_table(rows))
    log.info(
        "MACs of a pass at %d x %d latents: %.1f G of %.1f G (without attention products %.1f G of %.1f G).",
        *[teacher.config.sample_size] * 2,
        *(count / 1e9 for name in ("macs", "macs_without_attention") for count in (after[name], before[name])),
    )
    return plan, {
        **after,
        "teacher": before,
        "stock": stock_config(student) is not None,
        "plan": plan.to_json(),
        "stages": rows,
        "initialised_from_teacher": initialised_from_teacher(student, teacher, plan),
        **_not_supported(spec),
    }


def _counts(unet: Any, spec: Teacher) -> dict[str, int]:
    counts = macs(unet, unet.config.sample_size, text_tokens(spec))
    return {"params": params(unet), "tensors": tensors(unet), **counts}


def _not_supported(spec: Teacher) -> dict[str, str]:
    try:
        check_conditions(part_config(spec, "unet"), "teacher")
    except ValueError as error:
        log.warning("A run would stop here: %s", error)
        return {"not_supported": str(error)}
    return {}
