"""Stable Diffusion 1.4's configs in half precision, random weights, LAION's shards: the main experiment, whole.

`full` has the published configs at 512 px (`pytest -m full_size`); `small` the same parts, narrow, at 64 px. There is
no pretrained weight in either, and no CLIP vocabulary: captions are split by the shipped tokenizer, to CLIP's 77
tokens, whose ids all lie in CLIP's vocabulary.
"""

import io
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from matplotlib import cbook
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.models import ARCHITECTURES, Teacher, load_teacher, meta_unet, save_student
from ldc.models.architectures import Architecture
from ldc.profiling import params
from ldc.runtime import ASSETS
from ldc.surgery import Plan, key_map
from ldc.training.checkpoints import newest

log = logging.getLogger(__name__)
STUDENTS = ("prune", "distil", "few_step")
SD14 = ARCHITECTURES["sd14"]
NARROW = Architecture(
    unet=SD14.unet
    | {"sample_size": 8, "block_out_channels": [8, 16, 32, 32], "cross_attention_dim": 16}
    | {"attention_head_dim": 2, "norm_num_groups": 4},
    text_encoder=SD14.text_encoder
    | {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    scheduler=SD14.scheduler,
    vae=SD14.vae | {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4, "sample_size": 64},
)
EMOJI = ("fluent/red-apple", "noto/grinning-face", "twemoji/blue-heart", "fluent/banana", "noto/ghost")
MEMORY = ("trainer.precision=bf16-mixed", "trainer.teacher_dtype=bfloat16", "trainer.gradient_checkpointing=true")
FIT = ("max_steps=2", "batch_size=1", "averaging=null", "schedule.warmup_steps=0")


@dataclass(frozen=True)
class Size:
    """What differs between full and small: configs, pixels, and what must come out."""

    architecture: Architecture
    pixels: int
    teacher_params: int
    base_params: int
    projection_params: int  # 256 x the U-Net's first width
    memory_gb: float
    environment: dict[str, str] = field(default_factory=dict)


SMALL = Size(NARROW, 64, 546_588, 368_468, 2_048, 2, {"OMP_NUM_THREADS": "1"})
FULL = Size(SD14, 512, 859_520_964, 579_384_964, 81_920, 24)


@dataclass(frozen=True)
class Run:
    """A finished run of the chain."""

    size: Size
    teacher: Path
    folder: Path
    summary: dict[str, Any]
    peak_gb: float  # of the process's resident memory

    def artifact(self, stage):
        return json.loads((self.folder / stage / "artifact.json").read_text())


def write_teacher(folder, architecture):
    """Writes a pipeline folder as Stable Diffusion's `fp16` revision is one, with random weights."""
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "emoji_ldm" / "tokenizer", model_max_length=77)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "random", architecture)
        teacher = load_teacher(Teacher("random", weights="random", architecture="random"), torch.float16)
    save_student(folder, teacher.unet, Plan(()), replace(teacher, tokenizer=tokenizer))
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float32"', '"dtype": "float16"'))  # as it was published
    return folder


def real_pictures():
    """Yields (caption, JPEG) of at least 512 px: drawings of the shipped data, enlarged, and a photograph."""
    with tarfile.open(ASSETS / "emoji64.tar.xz") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    captions = {line["key"]: line["caption"] for line in map(json.loads, contents["samples.jsonl"].splitlines())}
    for key in EMOJI:
        drawing = Image.open(io.BytesIO(contents[f"{key}.webp"])).convert("RGB")
        yield captions[key], jpeg(drawing.resize((512, 512), Image.Resampling.BICUBIC))
    photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg")).convert("RGB")
    yield "a portrait of Grace Hopper in uniform before a flag", jpeg(photograph)


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def train(size, *arguments):
    """Runs `python -m ldc.train`; returns its summary and the peak of its memory in GiB."""
    words = [sys.executable, "-m", "ldc.train", *arguments]
    options = {"stdout": subprocess.PIPE, "text": True, "env": os.environ | size.environment}
    process = subprocess.Popen(words, **options)  # noqa: S603 - our own command
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, "ldc.train must end well; its last words are on stderr"
    return json.loads(out.splitlines()[-1]), usage.ru_maxrss / 2**20


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SMALL, id="small", marks=pytest.mark.integration),
        pytest.param(FULL, id="full", marks=pytest.mark.full_size),
    ],
)
def run(request, tmp_path_factory, write_laion):
    """The chain's run: Base, two steps in each fit, batch 1; a full one is removed unless a test of it has failed."""
    size, folder = request.param, tmp_path_factory.mktemp("stable_diffusion")
    teacher = write_teacher(folder / "teacher", size.architecture)
    pictures = {f"{number:09d}": picture for number, picture in enumerate(real_pictures())}
    keys, found = list(pictures), {"original_width": 512, "original_height": 512, "width": 512, "height": 512}
    refused = {keys[1]: {"AESTHETIC_SCORE": 4.0}, keys[3]: {"pwatermark": 0.95}, keys[4]: {"original_height": 300}}
    changes = {key: found | refused.get(key, {}) for key in keys}
    write_laion(folder / "00000.tar", keys[:4], changes=changes, pictures=pictures)
    write_laion(folder / "00001.tar", keys[4:], changes=changes, pictures=pictures)
    summary, peak_gb = train(
        size,
        "+experiment=lcm_bksdm",
        f"teacher={teacher}",
        "data=laion",
        f"data.path={folder / '{00000..00001}.tar'}",
        f"data.size={size.pixels}",
        "stages.encode.text=false",
        "stages.encode.loader.batch_size=1",
        "~stages.evaluate",
        *MEMORY,
        *(f"stages.{fit}.{setting}" for fit in ("distil", "few_step") for setting in FIT),
        f"paths.outputs={folder / 'outputs'}",
        f"paths.cache={folder / 'cache'}",
    )
    made = Run(size, teacher, Path(summary["run"]), summary, peak_gb)
    for stage in summary["stages"]:
        log.info("%s: %s s", stage["name"], made.artifact(stage["name"])["metrics"]["seconds"])
    log.info("peak of memory: %.2f GiB", peak_gb)
    yield made
    if not request.session.testsfailed:
        shutil.rmtree(folder)  # 23 GB


def test_the_teacher_has_the_published_configs_in_half_precision(run):
    unet = meta_unet(Teacher(str(run.teacher)))
    tokenizer = CLIPTokenizer.from_pretrained(run.teacher / "tokenizer")
    for part in ("unet", "vae", "text_encoder"):
        (path,) = (run.teacher / part).glob("*.safetensors")
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict
        config = json.loads((run.teacher / part / "config.json").read_text())
        assert config.items() >= getattr(run.size.architecture, part).items()
    assert params(unet) == run.size.teacher_params
    assert tokenizer.model_max_length == 77
    assert max(tokenizer.get_vocab().values()) < SD14.text_encoder["vocab_size"]


def test_every_stage_sees_its_samples_and_the_filters_theirs(run):
    encoded = run.artifact("encode")["metrics"]
    assert [(stage["name"], stage["samples_seen"]) for stage in run.summary["stages"]] == [
        ("encode", 0),
        ("prune", 0),
        ("distil", 2),
        ("few_step", 2),
    ]
    assert encoded["samples"] == 3
    assert encoded["filtered"] == {"aesthetic": 1, "watermark": 1, "size": 1}


@pytest.mark.parametrize("stage", ["distil", "few_step"])
def test_all_losses_are_finite_and_the_weights_move(run, stage):
    losses = {name: value for name, value in run.artifact(stage)["metrics"].items() if name.startswith("train/")}
    before, after = (first_weight(run, name) for name in ("prune" if stage == "distil" else "distil", stage))
    assert losses["train/total"] > 0
    assert all(map(math.isfinite, losses.values())), losses
    assert not torch.equal(before, after)


@pytest.mark.parametrize("stage", STUDENTS)
def test_a_students_unet_loads_in_stock_diffusers_bit_for_bit(run, stage):
    unet, info = UNet2DConditionModel.from_pretrained(
        run.folder / stage / "unet", output_loading_info=True, local_files_only=True
    )
    expected = made_weights(run, stage)
    assert not any(info.values()), info
    assert unet.state_dict().keys() == expected.keys()
    for name, tensor in unet.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert params(unet) == run.size.base_params + (run.size.projection_params if stage == "few_step" else 0)


@pytest.mark.parametrize("stage", STUDENTS)
def test_a_student_draws_in_a_stock_pipeline(run, stage):
    pipe = StableDiffusionPipeline.from_pretrained(run.folder / stage, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    side = min(run.size.pixels, 256)
    assert type(pipe.scheduler) is (LCMScheduler if stage == "few_step" else PNDMScheduler)
    torch.manual_seed(0)
    drawn = pipe("red apple", num_inference_steps=1, guidance_scale=8.0, height=side, width=side, output_type="pt")
    assert drawn.images.shape == (1, 3, side, side)
    assert drawn.images.isfinite().all()
    assert drawn.images.std() > 0


def test_the_chain_fits_the_memory(run):
    assert run.peak_gb < run.size.memory_gb


def first_weight(run, stage):
    with safe_open(run.folder / stage / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        return file.get_tensor("conv_in.weight")


def made_weights(run, stage):
    """The tensors that the stage ended with: those that the plan keeps of the teacher's, or those of the last step."""
    if stage != "prune":
        state = torch.load(newest(run.folder / stage) / "state.ckpt", mmap=True, weights_only=True)["state_dict"]
        return {name.removeprefix("student."): value for name, value in state.items() if name.startswith("student.")}
    (path,) = (run.teacher / "unet").glob("*.safetensors")
    names = key_map(meta_unet(Teacher(str(run.teacher))), Plan.load(run.folder / stage / "plan.json"))
    theirs = load_file(path)
    return {ours: theirs[name].float() for ours, name in names.items()}
