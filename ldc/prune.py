"""`python -m ldc.prune teacher=NAME pruner=NAME`: plans, counts and writes a pruned student."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("prune")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes the student of a plan, every tensor taken from the teacher; `dry_run=true` counts on the meta device."""
    from ldc import models, profiling  # noqa: PLC0415 - a wrong key is answered before the libraries load
    from ldc.families.unet2d import stock_config  # noqa: PLC0415

    spec = runtime.teacher_spec(cfg.teacher)
    original = models.meta_unet(spec)
    plan = instantiate(cfg.pruner).plan(original)
    student = models.build_student(original, plan)
    summary = {
        "params": profiling.params(student),
        "tensors": profiling.tensors(student),
        **profiling.macs(student, student.config.sample_size, models.text_tokens(spec)),
        "stock": stock_config(student) is not None,
        "plan": plan.to_json(),
        "initialised_from_teacher": models.initialised_from_teacher(student, original, plan),
    }
    if cfg.dry_run:
        return summary
    teacher = models.load_teacher(spec)
    student = models.build_student(teacher.unet, plan)
    summary["initialised_from_teacher"] = models.initialised_from_teacher(student, teacher.unet, plan)
    folder = Path(cfg.out or Path(cfg.paths.outputs) / "prune" / plan.fingerprint)
    return {"student": str(models.save_student(folder, student, plan, teacher)), **summary}


if __name__ == "__main__":
    main()
