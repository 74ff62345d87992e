"""What `ldc.generate` is asked for, checked before any library loads, and how its images are written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from ldc.runtime.checks import check_device, check_number, check_whole

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


class Request(NamedTuple):
    """One prompt an image, where they go, and the picture to start from."""

    prompts: list[str]
    out: Path
    init_image: Any  # PIL image or None


def read_request(cfg: DictConfig) -> Request:
    """Returns what the config asks for.

    Raises:
        ValueError: a setting is outside its range, or a file is missing or of the wrong kind.
    """
    check_whole(cfg, "num_images", "batch_size")
    check_whole(cfg, "steps", "columns", optional=True)
    check_whole(cfg, "seed", least=0)
    check_number(cfg, "guidance", optional=True)
    check_number(cfg, "strength", above=0, most=1)
    check_device(cfg.device)
    out = Path(cfg.out or "sample.png")
    if out.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"out must end in .png, .jpg or .webp, not {cfg.out!r}.")
    prompts = [prompt for prompt in read_prompts(cfg) for _ in range(cfg.num_images)]
    return Request(prompts, out, _open(cfg.init_image))


def read_prompts(cfg: DictConfig) -> list[str]:
    """Returns the prompt, or those of a file.

    Raises:
        ValueError: neither or both are given, or there is no such file.
    """
    if (cfg.prompt is None) == (cfg.prompts_file is None):
        raise ValueError("prompt or prompts_file must be given, and not both.")
    if cfg.prompts_file is not None and not Path(cfg.prompts_file).is_file():
        raise ValueError(f"prompts_file must be an existing text file, not {cfg.prompts_file!r}.")
    return [cfg.prompt] if cfg.prompt is not None else Path(cfg.prompts_file).read_text().splitlines()


def save_images(images: Sequence[Any], out: Path, columns: int | None) -> None:
    """Writes one image to `out`, or a grid of several there and each of them beside it, numbered."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(images) == 1:
        images[0].save(out)
        return
    from ldc.evaluation.pictures import grid  # noqa: PLC0415 - loads the libraries

    for number, image in enumerate(images):
        image.save(out.with_stem(f"{out.stem}-{number:03d}"))
    grid(images, columns).save(out)


def _open(path: str | None) -> Any:
    if path is None:
        return None
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        return Image.open(path).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"init_image must be a readable picture, not {path!r} ({type(error).__name__}).") from error
