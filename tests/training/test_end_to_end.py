"""Fits with the project's real data module and objectives, and with two processes."""

import functools
import io
import json
import os
import signal
import tarfile

import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image

from ldc.data.encode import encode_shards
from ldc.data.module import LatentDataModule
from ldc.diffusion.process import Process
from ldc.objectives import ConsistencyDistillation
from ldc.training import DistillationModule, Interrupted, WeightAverage, adamw, constant_with_warmup, fit, loggers
from ldc.training.checkpoints import newest
from ldc.training.csv_log import read
from tests.training.unets import small_unet

pytestmark = pytest.mark.integration
STEPS = 6


class Encoders:
    """A linear encoder to two channels at half the size, and text states that tell captions apart."""

    scaling_factor = 0.5
    fingerprint = "toy"

    def moments(self, pixels):
        weight = torch.linspace(-1, 1, 48).view(4, 3, 2, 2)
        return torch.nn.functional.conv2d(pixels, weight, stride=2)

    def text(self, captions):
        codes = [[sum(caption.encode()) % 97 + place for place in range(24)] for caption in captions]
        return torch.tensor(codes, dtype=torch.float32).view(len(captions), 3, 8) / 100


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for number in range(11):
            image = io.BytesIO()
            Image.new("RGB", (16, 16), (20 * number, 255 - 20 * number, 90)).save(image, "png")
            captions = json.dumps({"captions": [f"picture {number}", f"no. {number}"]}).encode()
            for name, content in ((f"{number:04d}.png", image.getvalue()), (f"{number:04d}.json", captions)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return encode_shards([folder / "train-0.tar"], Encoders(), folder, size=16, progress=False).folder


def run(encoded, folder, *, workers, callbacks=()):
    process = Process.from_config({"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"})
    points = [("mid_block", "mid_block")]
    objective = ConsistencyDistillation(
        process, guidance_range=(0.5, 4.0), guidance_embedding_dim=16, feature_points=points, feature_weight=0.1
    )
    module = DistillationModule(
        objective,
        small_unet(0, time_cond_proj_dim=16),
        small_unet(1),
        optimizer=functools.partial(adamw, lr=1e-3),
        schedule=functools.partial(constant_with_warmup, warmup_steps=4),
        target_decay=0.95,
        gradient_checkpointing=True,
    )
    result = fit(
        module,
        LatentDataModule(encoded, batch_size=2, seed=0, caption_dropout=0.2, num_workers=workers),
        folder=folder,
        max_steps=STEPS,
        gradient_clip_val=1.0,
        log_every_n_steps=1,
        average=WeightAverage(),
        loggers=loggers(["csv"], folder, "run"),
        callbacks=callbacks,
        accelerator="cpu",
    )
    return module, result


def test_consistency_distillation_on_cached_latents_resumes_bit_for_bit(encoded, tmp_path):
    straight, result = run(encoded, tmp_path / "straight", workers=0)
    with pytest.raises(Interrupted):
        run(encoded, tmp_path / "resumed", workers=1, callbacks=[StopAt(3)])
    resumed, again = run(encoded, tmp_path / "resumed", workers=1)

    rows = read(tmp_path / "resumed/metrics.csv")
    assert [row["step"] for row in rows] == [str(step) for step in range(1, STEPS + 1)]
    assert rows == read(tmp_path / "straight/metrics.csv")
    assert again.samples_seen == result.samples_seen == 2 * STEPS
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for name, value in result.average.average.items():
        assert torch.equal(value, again.average.average[name]), name


def test_two_processes_take_the_steps_of_one(toy_module, toy_data, tmp_path):
    for folder, batch_size, options in (
        (tmp_path / "one", 4, {}),
        (tmp_path / "two", 2, {"strategy": "ddp_fork", "devices": 2}),
    ):
        fit(
            toy_module(("teacher", "target")),
            toy_data(4, batch_size),
            folder=folder,
            max_steps=4,
            log_every_n_steps=1,
            loggers=loggers(["csv"], folder, "run"),
            average=WeightAverage(),
            accelerator="cpu",
            **options,
        )

    one, two = (torch.load(newest(tmp_path / name) / "state.ckpt", weights_only=True) for name in ("one", "two"))
    torch.testing.assert_close(two["state_dict"], one["state_dict"], rtol=1e-4, atol=1e-5)
    assert two["samples_seen"] == one["samples_seen"] == 16
    losses = [[float(row["train/total"]) for row in read(tmp_path / name / "metrics.csv")] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
