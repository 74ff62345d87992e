"""Loggers by name: CSV, TensorBoard, and Weights & Biases, which is offline where no account is known."""

import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb as weights_and_biases
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from ldc.training.checkpoints.durable import sync
from ldc.training.csv_log import CSVLog

NAMES = ("csv", "tensorboard", "wandb")
WANDB_ID = "wandb-run-id"


def loggers(names: Sequence[str], folder: Path | str, run_name: str, project: str = "ldc") -> list[Logger]:
    """Returns the named loggers, which write below `folder`, a stage's; W&B has one run for all stages of its run.

    Raises:
        ValueError: a name is none of csv, tensorboard, wandb.
    """
    folder = Path(folder)
    makers = {
        "csv": lambda: CSVLog(folder),
        "tensorboard": lambda: TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False),
        "wandb": lambda: wandb(folder.parent, run_name, project, folder.name),
    }
    for name in names:
        if name not in makers:
            raise ValueError(f"loggers must be among {', '.join(NAMES)}, not {name!r}.")
    return [makers[name]() for name in names]


class StageInWandb(WandbLogger):
    """Writes one stage's metrics as `<stage>/<metric>` into the W&B run that all stages of a run share."""

    LOGGER_JOIN_CHAR = "/"


def wandb(folder: Path, run_name: str, project: str, stage: str = "") -> WandbLogger:
    """Returns a logger of the W&B run of `folder`, a run's, which goes on under the same id when the run is resumed.

    The id is `WANDB_RUN_ID`, which a sweep's agent sets, else the one that the folder keeps. It is offline where
    neither `WANDB_MODE` nor a key says otherwise; `wandb sync` uploads such a run later.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_id = kept_id(folder / WANDB_ID, os.environ.get("WANDB_RUN_ID"))
    current = weights_and_biases.run
    if current is not None and current.id != run_id:  # of another run in this process
        current.finish()
        current = None
    offline = "WANDB_MODE" not in os.environ and not has_wandb_key()
    place: dict[str, Any] = {"project": project, "save_dir": folder, "offline": offline, "log_model": False}
    return StageInWandb(name=run_name, id=run_id, resume="allow", prefix=stage, experiment=current, **place)


def kept_id(path: Path, given: str | None) -> str:
    """Returns the W&B run's id: `given`, else the one that the file keeps, else a new one; rank zero keeps it there.

    The other ranks have no W&B run. A process that is killed here leaves the old file, or a whole new one.
    """
    known = path.read_text() if path.is_file() else ""
    run_id = given or known or os.urandom(4).hex()
    if run_id != known and getattr(rank_zero_only, "rank", 0) == 0:
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(run_id)
        sync(temporary)
        temporary.replace(path)
    return run_id


def finish_wandb(folder: Path, run_name: str, project: str, figures: Mapping[str, float]) -> None:
    """Logs a run's figures, from where a sweep's server reads its metric, and ends the W&B run of `folder`."""
    experiment = wandb(folder, run_name, project).experiment
    experiment.log(dict(figures))
    experiment.finish()


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
