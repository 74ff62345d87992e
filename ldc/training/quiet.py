"""Silences what Lightning says about itself or wrongly about us; its other warnings come through."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Each with the reason why it does not apply here.
SILENCED = (
    r".*does not have many workers.*",  # workers are a choice: cached latents need none
    r".*ended before the epoch ended and your dataloader is not resumable.*",  # the data module sets its own position
    r".*module\(s\) in eval mode at the start of training.*",  # the target
    r".*smaller than the logging interval.*",  # the interval is clipped to the steps
    r".*Checkpoint directory .* exists and is not empty.*",  # that is what resuming means
    # The module moves and encodes batches, the data module reads them.
    r".*overridden `(on_after_batch_transfer|transfer_batch_to_device)` in `LightningModule`.*",
    r".*GPU available but not used.*",  # the accelerator is a choice
    r".*`srun` command is available on your system but is not used.*",  # a login node, or torchrun
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning with torch >= 2.13
    r".*`torch\.distributed\.\w+` is deprecated.*",  # deepspeed, at every step
    r".*Precision 16-mixed is not supported by the model summary.*",  # there is none
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Drops Lightning's information lines, its advertisements among them, and the warnings above."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for pattern in SILENCED:
            warnings.filterwarnings("ignore", message=pattern)
        try:
            yield
        finally:
            logger.setLevel(level)
