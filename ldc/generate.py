"""`python -m ldc.generate student=FOLDER prompt=TEXT`: text to image, or image to image, with any model."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("generate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes `out`; with several images a grid there, and each image beside it."""
    _check(cfg)
    prompts = _prompts(cfg)
    out = _checked_out(cfg.out)
    init_image = _open(cfg.init_image)
    from ldc.evaluation.pictures import grid  # noqa: PLC0415 - wrong input is answered before the libraries load
    from ldc.models.generate import checked_guidance, generate  # noqa: PLC0415
    from ldc.runtime.evaluation import default_steps  # noqa: PLC0415

    found = runtime.find_model(cfg.student)
    scale = checked_guidance(found.guidance, cfg.guidance)
    settings = {"steps": cfg.steps or default_steps(found.scheduler_config), "guidance_scale": scale, "seed": cfg.seed}
    summary = {"out": str(out), "student": cfg.student, "prompts": prompts, "num_images": len(prompts), **settings}
    if cfg.dry_run:
        return {**summary, "dry_run": True}
    images = generate(
        found.load(cfg.device),
        prompts,
        **settings,
        init_image=init_image,
        strength=cfg.strength if init_image else 1.0,
        batch_size=cfg.batch_size,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(images) > 1:
        for number, image in enumerate(images):
            image.save(out.with_stem(f"{out.stem}-{number:03d}"))
    (grid(images, cfg.columns) if len(images) > 1 else images[0]).save(out)
    return summary


def _check(cfg: DictConfig) -> None:
    runtime.check_whole(cfg, "num_images", "batch_size")
    runtime.check_whole(cfg, "steps", "columns", optional=True)
    runtime.check_whole(cfg, "seed", least=0)
    runtime.check_number(cfg, "guidance", optional=True)
    runtime.check_number(cfg, "strength", above=0, most=1)
    runtime.check_device(cfg.device)


def _prompts(cfg: DictConfig) -> list[str]:
    if (cfg.prompt is None) == (cfg.prompts_file is None):
        raise ValueError("prompt or prompts_file must be given, and not both.")
    if cfg.prompts_file is not None and not Path(cfg.prompts_file).is_file():
        raise ValueError(f"prompts_file must be an existing text file, not {cfg.prompts_file!r}.")
    prompts = [cfg.prompt] if cfg.prompt is not None else Path(cfg.prompts_file).read_text().splitlines()
    return [prompt for prompt in prompts for _ in range(cfg.num_images)]


def _checked_out(name: str) -> Path:
    if Path(name).suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"}:
        raise ValueError(f"out must end in .png, .jpg or .webp, not {name!r}.")
    return Path(name)


def _open(path: str | None) -> Any:
    if path is None:
        return None
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        return Image.open(path).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"init_image must be a readable picture, not {path!r} ({type(error).__name__}).") from error


if __name__ == "__main__":
    main()
