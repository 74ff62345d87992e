"""A fit on the project's real parts but for its tiny networks, its records, and the processes that run it."""

import functools
import hashlib
import io
import os
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image
from torch import nn

from ldc.data.encode import encode_shards
from ldc.data.module import LatentDataModule
from ldc.data.shard_writer import NewSample, write_shards
from ldc.diffusion.process import Process
from ldc.objectives import ConsistencyDistillation
from ldc.training import DistillationModule, WeightAverage, adamw, cosine, fit, loggers
from tests.resilience.processes import Forked

GLOBAL_BATCH = 4
SHARDS = 18  # more than a TarReader keeps open
FINAL = "final.pt"


class Encoders:
    """A linear encoder to two channels at half the size, and text states that tell captions apart."""

    scaling_factor = 0.5
    fingerprint = "toy"

    def moments(self, pixels):
        weight = torch.linspace(-1, 1, 48).view(4, 3, 2, 2)
        return nn.functional.conv2d(pixels, weight, stride=2)

    def text(self, captions):
        codes = [[sum(caption.encode()) % 97 + place for place in range(24)] for caption in captions]
        return torch.tensor(codes, dtype=torch.float32).view(len(captions), 3, 8) / 100


class Denoiser(nn.Module):
    """A U-Net's signature on two convolutions: a step takes milliseconds."""

    def __init__(self, seed, embedding=None):
        super().__init__()
        torch.manual_seed(seed)
        self.enter = nn.Conv2d(2, 8, 3, padding=1)
        self.leave = nn.Conv2d(8, 2, 3, padding=1)
        self.text = nn.Linear(8, 8)
        self.guidance = None if embedding is None else nn.Linear(embedding, 8)

    def forward(self, sample, timestep, encoder_hidden_states, timestep_cond=None):
        added = self.text(encoder_hidden_states).mean(1) + timestep[:, None] / 1000
        if self.guidance is not None:
            added = added + self.guidance(timestep_cond)
        return self.leave(torch.tanh(self.enter(sample) + added[:, :, None, None]))


class Remembering(ConsistencyDistillation):
    """Remembers the batch and the draws of its latest call."""

    def losses(self, networks, batch, draws):
        self.latest = batch, draws
        return super().losses(networks, batch, draws)


class Records(Callback):
    """Appends `process step position:key:timestep:hash ...` of each micro-batch to a file of its rank, in one write.

    The hash is of all that the networks are given for a sample: latents, text states, noise and guidance.
    """

    def __init__(self, folder):
        self.folder = folder

    def on_before_backward(self, trainer, pl_module, *_):
        batch, draws = pl_module.objective.latest
        samples = []
        for place, position in enumerate(batch.positions.tolist()):
            tensors = (batch.latents[place], batch.text[place], draws.noise[place], draws.guidance[place])
            hashed = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()[:16]
            samples.append(f"{position}:{batch.keys[place]}:{draws.timesteps[place]}:{hashed}")
        with (self.folder / f"record-{trainer.global_rank}.txt").open("ab", buffering=0) as file:
            file.write(f"{os.getpid()} {trainer.global_step} {' '.join(samples)}\n".encode())


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """A cache of `SHARDS` shards with two samples each."""
    folder = tmp_path_factory.mktemp("data")
    return encode_shards(_shards(folder), Encoders(), folder / "encoded", size=16, progress=False).folder


def _shards(folder):
    samples = []
    for number in range(2 * SHARDS):
        image = io.BytesIO()
        Image.new("RGB", (16, 16), (7 * number, 255 - 7 * number, 90)).save(image, "png")
        captions = {"captions": [f"picture {number}", f"no. {number}"]}
        samples.append(NewSample("train", f"{number:04d}", "png", image.getvalue(), captions))
    write_shards(folder, samples, samples_per_shard=2)
    return sorted(folder.glob("*.tar"))


@pytest.fixture(scope="session")
def train():
    return _train


def _train(encoded, folder, *, steps, world_size=1, workers=0, callbacks=(), accumulate=1, every=2, data=(), **options):
    """Fits to the end, and leaves in `final.pt` all that the fit has come to."""
    process = Process.from_config({"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"})
    module = DistillationModule(
        Remembering(process, guidance_range=(0.5, 4.0), guidance_embedding_dim=16),
        Denoiser(0, embedding=16),
        Denoiser(1),
        optimizer=functools.partial(adamw, lr=1e-2),
        schedule=functools.partial(cosine, warmup_steps=4, total_steps=40),
        target_decay=0.9,
    )
    batch_size = GLOBAL_BATCH // world_size // accumulate
    result = fit(
        module,
        LatentDataModule(encoded, batch_size, seed=0, caption_dropout=0.2, num_workers=workers, **dict(data)),
        folder=folder,
        max_steps=steps,
        gradient_clip_val=1.0,
        log_every_n_steps=1,
        checkpoint_every_n_steps=every,
        average=WeightAverage(),
        loggers=loggers(["csv"], folder, "run"),
        callbacks=[Records(folder), *callbacks],
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        progress=False,
        **options,
    )
    if module.trainer.is_global_zero:
        torch.save(
            {
                "weights": module.state_dict(),  # of student and target
                "average": (result.average.updates, result.average.average),
                "optimizer": module.trainer.optimizers[0].state_dict(),
                "schedule": module.trainer.lr_scheduler_configs[0].scheduler.state_dict(),
                "counts": (result.steps, result.samples_seen),
            },
            folder / FINAL,
        )


@pytest.fixture(scope="module")
def forked():
    """`forked(work, folder, world_size)` starts a `Forked`; none outlives the module's tests."""
    groups = []

    def call(*arguments):
        groups.append(Forked(*arguments))
        return groups[-1]

    yield call
    for group in groups:
        group.kill()


class Record(NamedTuple):
    """What one process trained on in one micro-batch."""

    life: str
    step: int
    samples: list[str]


@pytest.fixture(scope="session")
def records():
    """Returns the records of one rank, in the order in which they were written."""

    def read(folder, rank=0):
        lines = (folder / f"record-{rank}.txt").read_text().splitlines()
        return [Record(life, int(step), samples) for life, step, *samples in map(str.split, lines)]

    return read
