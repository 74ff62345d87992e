"""`python -m ldc.generate student=FOLDER prompt=TEXT`: text to image, or image to image, with any model."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime
from ldc.runtime.drawing import read_request, save_images


@runtime.entry_point("generate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes `out`; with several images a grid there, and each image beside it."""
    prompts, out, init_image = read_request(cfg)
    from ldc.models.generate import checked_guidance, generate  # noqa: PLC0415 - wrong input is answered before they load
    from ldc.runtime.evaluation import default_steps  # noqa: PLC0415

    found = runtime.find_model(cfg.student)
    scale = checked_guidance(found.guidance, cfg.guidance)
    settings = {"steps": cfg.steps or default_steps(found.scheduler_config), "guidance_scale": scale, "seed": cfg.seed}
    summary = {"out": str(out), "student": cfg.student, "prompts": prompts, "num_images": len(prompts), **settings}
    if cfg.dry_run:
        return {**summary, "dry_run": True}
    strength = cfg.strength if init_image else 1.0
    source = {"init_image": init_image, "strength": strength}
    images = generate(found.load(cfg.device), prompts, **settings, **source, batch_size=cfg.batch_size)
    save_images(images, out, cfg.columns)
    return summary


if __name__ == "__main__":
    main()
