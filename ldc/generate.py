"""`python -m ldc.generate student=FOLDER prompt=TEXT`: an image of a text, or what follows it, with any model."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime
from ldc.runtime.checks import refuse_settings
from ldc.runtime.drawing import read_request, save_images
from ldc.runtime.writing import OF_TEXTS, read_text_request, save_texts


@runtime.entry_point("generate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes `out`; with several images a grid there, and each image beside it."""
    language_model = runtime.find_language_model(cfg.student)
    return _images(cfg) if language_model is None else _texts(cfg, language_model)


def _images(cfg: DictConfig) -> dict[str, Any]:
    refuse_settings(cfg, "generate", OF_TEXTS, "no language model")
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


def _texts(cfg: DictConfig, language_model: Any) -> dict[str, Any]:
    prompts, out, settings = read_text_request(cfg)
    summary = {"out": str(out), "student": cfg.student, "prompts": prompts, **settings}
    if cfg.dry_run:
        return {**summary, "dry_run": True}
    from ldc.models.language import continue_texts  # noqa: PLC0415 - wrong input is answered before the libraries load

    found = language_model.load(cfg.device)
    texts = continue_texts(found.model, found.tokenizer, prompts, **settings)
    save_texts(prompts, texts, out)
    return {**summary, "texts": texts}


if __name__ == "__main__":
    main()
