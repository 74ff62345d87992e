"""Loggers by name: CSV, TensorBoard, and Weights & Biases, which is offline where no account is known."""

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from ldc.training.csv_log import CSVLog

NAMES = ("csv", "tensorboard", "wandb")
WANDB_ID = "wandb-run-id"


def loggers(names: Sequence[str], folder: Path | str, run_name: str, project: str = "ldc") -> list[Logger]:
    """Returns the named loggers, which write below `folder`.

    Raises:
        ValueError: a name is none of csv, tensorboard, wandb.
    """
    folder = Path(folder)
    makers = {
        "csv": lambda: CSVLog(folder),
        "tensorboard": lambda: TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False),
        "wandb": lambda: wandb(folder, run_name, project),
    }
    for name in names:
        if name not in makers:
            raise ValueError(f"loggers must be among {', '.join(NAMES)}, not {name!r}.")
    return [makers[name]() for name in names]


def wandb(folder: Path, run_name: str, project: str) -> WandbLogger:
    """Returns a W&B logger that goes on under the same run id when the fit resumes.

    It is offline where neither `WANDB_MODE` nor a key says otherwise; `wandb sync` uploads such a run later.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WANDB_ID
    run_id = path.read_text() if path.is_file() else os.urandom(4).hex()
    path.write_text(run_id)
    offline = "WANDB_MODE" not in os.environ and not has_wandb_key()
    return WandbLogger(
        name=run_name, project=project, save_dir=folder, id=run_id, resume="allow", offline=offline, log_model=False
    )


def has_wandb_key() -> bool:
    """Returns whether the environment or a login on this machine gives a key."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return path.is_file() and netrc.netrc(path).authenticators("api.wandb.ai") is not None
    except (netrc.NetrcParseError, OSError):
        return False


def log_image(logger: Any, name: str, image: Image.Image, step: int) -> None:
    """Gives an image to a logger that takes images."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [image], step=step)
