"""Lets a fit begin and end that has no step left, as one that was killed after its last checkpoint.

Lightning passes its training over, hooks and all; but what ends a fit is still to be done then, by all ranks and with
the state loaded: gathering the student that is published, drawing the last grid.
"""

from typing import Any

from lightning.pytorch.loops.fit_loop import _FitLoop


class WholeLoop(_FitLoop):
    """Lightning's loop over steps, whose hooks of beginning and end run around no step, too."""

    @property
    def skip(self) -> bool:
        return False


def never_skip(trainer: Any) -> None:
    """Gives a Trainer the loop; its limits, and the inner loop that counts steps, stay."""
    loop = WholeLoop(trainer, trainer.min_epochs, trainer.max_epochs)
    loop.epoch_loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop = loop
