"""The function that draws a student while it trains: fixed prompts, fixed noise, the teacher's frozen parts."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from ldc.evaluation.pictures import grid
from ldc.models import Guidance, LatentDiffusion
from ldc.models.generate import embed, render, to_picture

log = logging.getLogger(__name__)


def grid_renderer(
    teacher: LatentDiffusion, scheduler_config: dict[str, Any], guidance: Guidance, prompts: Sequence[str], seed: int
) -> Callable[[Any, int], Image.Image] | None:
    """Returns `render(unet, steps) -> picture` for the prompts, or None (and says so) where there is nothing to draw.

    The texts are encoded once, here.
    """
    if teacher.tokenizer is None or not prompts:
        log.warning("No sample grids: %s.", "the teacher has no tokenizer" if prompts else "no prompts are given")
        return None
    text = embed(teacher, prompts)
    parts = replace(teacher, scheduler_config=scheduler_config, guidance=guidance)

    def draw(unet: Any, steps: int) -> Image.Image:
        parts.vae.to(next(unet.parameters()).device)  # where the student trains, which is known only now
        images = render(replace(parts, unet=unet), prompts, steps=steps, seed=seed, text=text)
        return grid([to_picture(image) for image in images])

    return draw
