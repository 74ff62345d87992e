"""A saved student is a folder of stock diffusers (bksdm A13): it reloads bit-equal and samples in a stock pipeline."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler

from ldc.families import settle
from ldc.models import LatentDiffusion, build_student, encode_text, load_student, load_teacher, save_student
from ldc.models.teachers import Teacher
from ldc.pruning import BlockRemoval
from ldc.surgery import Plan, Skip, apply

PARTS = ("unet", "vae", "text_encoder")
VAE = "diffusion_pytorch_model.safetensors"


def saved(folder, teacher, variant, width=None, **options):
    plan = BlockRemoval(variant).plan(teacher.unet)
    student = build_student(teacher.unet, plan, width)
    return student, save_student(folder, student, plan, teacher, **options)


@pytest.fixture(scope="module")
def teacher(teacher_folder):
    return load_teacher(Teacher(str(teacher_folder)))


@pytest.mark.parametrize("width", [None, 32])
@pytest.mark.parametrize("variant", ["base", "small", "tiny"])
def test_a_saved_student_reloads_in_stock_diffusers_bit_equal(teacher, tmp_path, variant, width):
    student, folder = saved(tmp_path, teacher, variant, width)
    stock, info = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", output_loading_info=True)
    assert not any(info.values())
    ours, theirs = student.state_dict(), stock.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_saved_student_samples_in_a_stock_pipeline_with_the_lcm_scheduler(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny", 32)
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.scheduler, LCMScheduler)
    images = pipeline("red apple", num_inference_steps=2, guidance_scale=3.0, output_type="np").images
    assert images.shape == (1, 64, 64, 3)


def test_a_distilled_student_keeps_the_teachers_scheduler(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "small")
    scheduler = StableDiffusionPipeline.from_pretrained(folder).scheduler
    assert isinstance(scheduler, DDIMScheduler)
    assert scheduler.config.prediction_type == "v_prediction"


def test_a_consistency_student_keeps_the_teachers_noise_schedule(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny", 32, original_inference_steps=25)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    wanted = {
        "prediction_type": "v_prediction",
        "beta_end": 0.012,
        "original_inference_steps": 25,
        "clip_sample": False,
    }
    assert {key: config[key] for key in wanted} == wanted


def test_a_student_without_guidance_projection_can_be_a_consistency_student(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny", consistency=True)
    assert json.loads((folder / "model_index.json").read_text())["scheduler"] == ["diffusers", "LCMScheduler"]


def test_frozen_parts_are_hard_linked(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny")
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert (folder / weights).samefile(teacher.folder / weights)


def test_frozen_parts_are_copied_when_asked(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny", frozen="copy")
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert not (folder / weights).samefile(teacher.folder / weights)
    assert (folder / weights).read_bytes() == (teacher.folder / weights).read_bytes()


@pytest.fixture
def half_precision(toy_parts, tmp_path):
    """A teacher's folder as `variant="fp16"` is published: weights and text encoder config in float16, own names."""
    parts = replace(toy_parts, **{name: deepcopy(getattr(toy_parts, name)).half() for name in PARTS})
    folder = save_student(tmp_path / "half", parts.unet, Plan(), parts)
    for part in PARTS:
        (path,) = (folder / part).glob("*.safetensors")
        path.rename(path.with_suffix(".fp16.safetensors"))
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float32"', '"torch_dtype": "float16"'))
    return folder


def test_a_student_of_a_teacher_in_half_precision_samples_in_a_stock_pipeline(half_precision, tmp_path):
    _, folder = saved(tmp_path / "student", load_teacher(Teacher(str(half_precision))), "tiny")
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("red apple", num_inference_steps=1, output_type="np").images.shape == (1, 64, 64, 3)
    assert (folder / "vae" / VAE).samefile(half_precision / "vae" / "diffusion_pytorch_model.fp16.safetensors")


def test_a_teacher_in_half_precision_keeps_its_own_config(half_precision, tmp_path):
    before = (half_precision / "text_encoder" / "config.json").read_bytes()
    for _ in range(2):
        saved(tmp_path / "student", load_teacher(Teacher(str(half_precision))), "tiny")
    assert b'"torch_dtype": "float16"' in before
    assert (half_precision / "text_encoder" / "config.json").read_bytes() == before


def test_saving_twice_replaces_the_files_and_not_the_teachers(teacher, tmp_path):
    weights = teacher.folder / "text_encoder" / "model.safetensors"
    before = weights.read_bytes()
    saved(tmp_path, teacher, "tiny")
    _, folder = saved(tmp_path, teacher, "tiny", frozen="copy")
    saved(tmp_path, teacher, "tiny")
    assert weights.read_bytes() == before
    assert (folder / "text_encoder" / "model.safetensors").read_bytes() == before


def test_the_plan_lies_beside_the_student(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny")
    assert Plan.load(folder / "plan.json") == BlockRemoval("tiny").plan(teacher.unet)


def test_the_saved_config_names_no_folder_of_this_machine(teacher, tmp_path):
    _, folder = saved(tmp_path, teacher, "tiny")
    assert str(teacher.folder) not in (folder / "unet" / "config.json").read_text()


def test_a_student_of_a_teacher_in_memory_is_complete(toy_parts, tmp_path):
    _, folder = saved(tmp_path, toy_parts, "tiny")
    assert torch.equal(encode_text(load_student(folder), ["a cat", ""]), encode_text(toy_parts, ["a cat", ""]))


def test_an_unstock_network_is_not_written_under_diffusers_names(teacher, tmp_path):
    plan = Plan([Skip("down_blocks.0.attentions.1", "identity")])
    student = apply(build_student(teacher.unet, Plan()), plan, settle)
    with pytest.raises(ValueError, match="must have a stock config"):
        save_student(tmp_path / "student", student, plan, teacher)
    assert not (tmp_path / "student").exists()


def test_frozen_must_be_link_or_copy(toy_parts, tmp_path):
    with pytest.raises(ValueError, match="frozen must be link or copy, not 'move'"):
        save_student(tmp_path, toy_parts.unet, Plan(), toy_parts, frozen="move")


def test_text_states_have_the_encoders_full_length(toy_parts):
    assert isinstance(toy_parts, LatentDiffusion)
    assert encode_text(toy_parts, ["red apple", "a very long caption that will not fit"]).shape == (2, 12, 16)
