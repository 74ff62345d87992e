"""Draws the student's images for fixed prompts and noise while it trains, at a few numbers of sampling steps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from PIL import Image, ImageDraw
from torch import nn

from ldc.training.callbacks.averaging import WeightAverage
from ldc.training.loggers import log_image
from ldc.training.publishing import published_student

LABEL_PX = 14


class SampleGrids(Callback):
    """Writes `samples/step-000100.png`, one band for each number of sampling steps, and gives it to every logger.

    Args:
        render: function of (network, sampling steps) that returns an image; it owns prompts, noise and decoder.
        folder: the stage's folder.
        every_n_steps: optimizer steps from grid to grid; there is always one at the end.
        sampling_steps: a band each.
        average: draws with these averaged weights where given.
    """

    def __init__(
        self,
        render: Callable[[nn.Module, int], Image.Image],
        folder: Path | str,
        every_n_steps: int = 1000,
        sampling_steps: Sequence[int] = (1, 2, 4, 8),
        average: WeightAverage | None = None,
    ):
        self.render = render
        self.folder = Path(folder) / "samples"
        self.every_n_steps = every_n_steps
        self.sampling_steps = tuple(sampling_steps)
        self.average = average
        self._drawn = -1  # the step of the latest grid

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.draw(trainer, pl_module)

    def draw(self, trainer: Any, pl_module: Any) -> None:
        """Draws, writes and logs the grid of this step, once; all ranks must call it, and rank zero draws."""
        step = trainer.global_step
        if step in (0, self._drawn):
            return
        self._drawn = step
        with published_student(pl_module, self.average) as student:
            if student is None:
                return
            image = self.bands(student)
        self.folder.mkdir(parents=True, exist_ok=True)
        image.save(self.folder / f"step-{step:06d}.png")
        for logger in trainer.loggers:
            log_image(logger, "samples", image, step)

    # A compiled student would be compiled again for the grid's batch size, so it is drawn from as it is.
    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")
    def bands(self, student: nn.Module) -> Image.Image:
        """Returns the images of all numbers of sampling steps, one below the other, each under its label."""
        was_training = student.training
        student.eval()
        try:
            images = [self.render(student, steps) for steps in self.sampling_steps]
        finally:
            student.train(was_training)
        return stack([f"{n} step{'s' if n > 1 else ''}" for n in self.sampling_steps], images)


def stack(labels: Sequence[str], images: Sequence[Image.Image]) -> Image.Image:
    """Returns images one below the other on white, each under its label."""
    height = sum(image.height + LABEL_PX for image in images)
    canvas = Image.new("RGB", (max(image.width for image in images), height), "white")
    pen = ImageDraw.Draw(canvas)
    top = 0
    for label, image in zip(labels, images, strict=True):
        pen.text((2, top + 1), label, fill="black")
        canvas.paste(image, (0, top + LABEL_PX))
        top += image.height + LABEL_PX
    return canvas
