"""Closed-form weights and inputs: no random numbers, so the golden values depend on no generator."""

import json
import math
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.data.batch import LatentBatch
from ldc.diffusion import Process

TINY = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [16, 32, 64, 64],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "attention_head_dim": 2,
    "cross_attention_dim": 16,
    "norm_num_groups": 8,
}
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}


def wave(shape, phase, scale=1.0):
    values = torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.37 + phase) * scale
    return values.reshape(shape)


def filled(config):
    """Returns a U-Net in float64 whose weights are waves with a phase by name."""
    unet = UNet2DConditionModel.from_config(dict(config)).double().eval()
    for key, value in unet.state_dict().items():
        phase = (zlib.crc32(key.encode()) % 6283) / 1000.0
        if value.dim() >= 2:
            value.copy_(wave(value.shape, phase, 1.0 / math.sqrt(value[0].numel())))
        elif key.endswith("weight"):
            value.copy_(1.0 + wave(value.shape, phase, 0.1))
        else:
            value.copy_(wave(value.shape, phase, 0.05))
    return unet


def student_config(variant):
    """Returns the stock config of a BK-SDM student (spec: the deltas to the teacher's)."""
    config = {**TINY, "layers_per_block": 1}
    if variant in {"small", "tiny"}:
        config["mid_block_type"] = None
    if variant == "tiny":
        for key, part in (
            ("block_out_channels", slice(3)),
            ("down_block_types", slice(3)),
            ("up_block_types", slice(1, 4)),
        ):
            config[key] = TINY[key][part]
    return config


def teacher_key(variant, key):
    """Returns a student tensor's name in the teacher: pair 1 of an up stage was pair 2; Tiny's up stages shift by 1."""
    parts = key.split(".")
    if parts[0] == "up_blocks":
        if parts[2] in {"resnets", "attentions"} and parts[3] == "1":
            parts[3] = "2"
        if variant == "tiny":
            parts[1] = str(int(parts[1]) + 1)
    return ".".join(parts)


def pruned(variant, teacher, **extra):
    """Returns a BK-SDM student with the teacher's weights; a guidance projection, if any, starts at zero."""
    student = UNet2DConditionModel.from_config({**student_config(variant), **extra}).double().eval()
    weights = teacher.state_dict()
    for key, value in student.state_dict().items():
        value.copy_(torch.zeros_like(value) if "cond_proj" in key else weights[teacher_key(variant, key)])
    return student


def batch_of(size, positions=None, text=2.3, empty=4.1):
    return LatentBatch(
        latents=wave((size, 4, 16, 16), 0.1, 0.9),
        text=wave((size, 7, 16), text),
        empty_text=wave((1, 7, 16), empty),
        positions=torch.arange(size) if positions is None else positions,
        keys=[str(i) for i in range(size)],
    )


def process(prediction_type="epsilon"):
    return Process.from_config({**SCHEDULE, "prediction_type": prediction_type})


@pytest.fixture(scope="session")
def golden():
    return json.loads((Path(__file__).parents[1] / "golden" / "kd_lcm.json").read_text())


@pytest.fixture(scope="session")
def teacher():
    return filled(TINY).requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_nets():
    """The builders above, for tests of this folder (pytest's importlib mode shares nothing else)."""
    return SimpleNamespace(
        config=TINY,
        wave=wave,
        filled=filled,
        pruned=pruned,
        batch_of=batch_of,
        process=process,
        student_config=student_config,
    )
