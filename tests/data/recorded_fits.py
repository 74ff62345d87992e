"""Fits under a real Trainer that record the batches they read, with a checkpoint on the way."""

import json
import warnings
from operator import attrgetter

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Recorder(LightningModule):
    """A one-parameter model that keeps the batches that it sees.

    Args:
        folder: where each rank writes what it read, as JSON.
        read: returns that of a recorder; the positions by default.
    """

    def __init__(self, folder=None, read=attrgetter("positions")):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = []
        self.folder, self.read = folder, read

    def training_step(self, batch):
        self.batches.append(batch)
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_end(self):
        if self.folder is not None:
            (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.read(self)))

    @property
    def positions(self):
        return [batch.positions.tolist() for batch in self.batches]


class SaveAt(Callback):
    """Saves after some optimizer step, and stops there."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit(data, max_steps, *, callbacks=(), resume=None, module=None, **options):
    """Returns `module`, else a new `Recorder`, after a fit on the CPU."""
    options = {"devices": 1, "accumulate_grad_batches": 1, **options}
    module = module or Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice
        trainer = Trainer(
            max_steps=max_steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
            **options,
        )
        trainer.fit(module, datamodule=data, ckpt_path=resume)
    return module
