"""`python -m ldc.evaluate student=FOLDER`: measures one model; every figure is stamped."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("evaluate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes metrics.json and samples.png; with `compare`, the differences to another of the same stamp."""
    from ldc import evaluation  # noqa: PLC0415 - a wrong key is answered before the libraries load
    from ldc.evaluation.pictures import grid  # noqa: PLC0415
    from ldc.models.generate import checked_guidance  # noqa: PLC0415
    from ldc.runtime.evaluation import default_steps, evaluation_set, expected_stamp, feature_cache  # noqa: PLC0415

    runtime.check_whole(cfg, "steps", "batch_size")
    runtime.check_whole(cfg, "num_images", least=4)
    runtime.check_whole(cfg, "seed", least=0)
    runtime.check_number(cfg, "guidance")
    other = _read(cfg.compare)
    runtime.data_source(cfg.data).check()
    runtime.check_device(cfg.device)
    found = runtime.find_model(cfg.student)
    scale = checked_guidance(found.guidance, cfg.guidance)
    sampling = {"steps": cfg.steps or default_steps(found.scheduler_config), "guidance_scale": scale}
    if cfg.dry_run:
        return {"dry_run": True, "student": cfg.student, **sampling}
    real = evaluation_set(cfg.data, cfg.paths.cache)
    if other is not None:
        evaluation.compare(other["stamp"], expected_stamp(real, cfg.num_images, cfg.seed))
    model = found.load(cfg.device)
    cache = feature_cache(cfg.paths.cache)
    settings = {"seed": cfg.seed, "n": cfg.num_images, "batch_size": cfg.batch_size, "cache": cache}
    result = evaluation.evaluate(model, real, **sampling, **settings)
    metrics = {**evaluation.cost(model, **sampling), **result["metrics"]}
    summary: dict[str, Any] = {"student": cfg.student, **sampling, "metrics": metrics, "stamp": result["stamp"]}
    if other is not None:
        summary["difference"] = {
            name: value - other["metrics"][name] for name, value in metrics.items() if name in other["metrics"]
        }
    out = Path(cfg.out or Path(cfg.paths.outputs) / "evaluate" / Path(cfg.student).name)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(summary, indent=2))
    grid(result["images"][:64]).save(out / "samples.png")
    return {**summary, "out": str(out)}


def _read(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"compare must be a metrics.json of ldc.evaluate, not {path!r}.") from error
    if not {"metrics", "stamp"} <= content.keys():
        raise ValueError(f"compare must be a metrics.json with metrics and stamp, not {path!r}.")
    return content


if __name__ == "__main__":
    main()
