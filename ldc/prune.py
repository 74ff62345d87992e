"""`python -m ldc.prune teacher=NAME pruner=NAME`: plans, counts and writes a pruned student."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("prune")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes the student of a plan, every tensor taken from the teacher; `dry_run=true` counts on the meta device."""
    from ldc import models  # noqa: PLC0415 - a wrong key is answered before the libraries load
    from ldc.runtime.checks import refuse_mixing, refuse_overwriting  # noqa: PLC0415
    from ldc.runtime.language_planning import prune_language_model  # noqa: PLC0415
    from ldc.runtime.language_pruning import is_language_pruner  # noqa: PLC0415
    from ldc.runtime.planning import plan_student  # noqa: PLC0415
    from ldc.runtime.publishing import clear_records, publish_pruned_student  # noqa: PLC0415

    if runtime.names_language_model(cfg.teacher) or is_language_pruner(cfg.pruner):
        return prune_language_model(cfg)
    spec = runtime.teacher_spec(cfg.teacher)
    refuse_overwriting(cfg.out, teacher=spec.path_or_id)
    refuse_mixing(cfg.out, "config.json")
    if not cfg.dry_run:
        models.check_teacher(spec)
    plan, summary = plan_student(spec, instantiate(cfg.pruner))
    if cfg.dry_run:
        return summary
    teacher = models.load_teacher(spec)
    student = models.build_student(teacher.unet, plan)
    summary["initialised_from_teacher"] = models.initialised_from_teacher(student, teacher.unet, plan)
    folder = Path(cfg.out or Path(cfg.paths.outputs) / "prune" / plan.fingerprint)
    clear_records(folder)
    models.save_student(folder, student, plan, teacher)
    publish_pruned_student(folder, spec, cfg, plan, teacher.guidance, summary)
    return {"student": str(folder), **summary}


if __name__ == "__main__":
    main()
