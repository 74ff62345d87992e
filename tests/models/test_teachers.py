import json
import shutil

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.models import (
    ARCHITECTURES,
    Teacher,
    build_student,
    check_compatible,
    check_teacher,
    encode_text,
    load_teacher,
    meta_unet,
    text_tokens,
)
from ldc.models.architectures import Architecture
from ldc.profiling import params
from ldc.surgery import Plan

TINY = Architecture(
    unet={
        "block_out_channels": [8, 16, 16, 16],
        "attention_head_dim": 2,
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
        "sample_size": 8,
    },
    text_encoder={
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 60,
        "max_position_embeddings": 9,
    },
    scheduler=dict(ARCHITECTURES["sd21"].scheduler),
    vae={"block_out_channels": [8], "norm_num_groups": 4, "latent_channels": 4},
)


@pytest.fixture
def tiny_architecture(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    return Teacher("nobody/tiny", weights="random", architecture="tiny")


@pytest.fixture
def broken(teacher_folder, tmp_path):
    """A copy of the toy teacher, to take something away from."""
    return shutil.copytree(teacher_folder, tmp_path / "teacher")


def text_encoder(name):
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(**ARCHITECTURES[name].text_encoder))


def autoencoder():
    with torch.device("meta"):
        return AutoencoderKL.from_config(ARCHITECTURES["sd14"].vae)


@pytest.mark.parametrize(("name", "count"), [("sd14", 123_060_480), ("sd21", 340_387_840)])
def test_embedded_text_encoders_have_the_published_size(name, count):
    assert params(text_encoder(name)) == count


def test_the_embedded_autoencoder_has_the_published_size():
    vae = autoencoder()
    assert (params(vae), params(vae.encoder), params(vae.decoder)) == (83_653_863, 34_163_592, 49_490_179)


def test_only_the_768_pixel_teacher_predicts_velocity():
    found = {name: each.scheduler["prediction_type"] for name, each in ARCHITECTURES.items()}
    assert {name for name, kind in found.items() if kind == "v_prediction"} == {"sd21"}
    assert DDIMScheduler.from_config(ARCHITECTURES["sd21"].scheduler).config.prediction_type == "v_prediction"


def test_the_meta_network_of_a_hub_teacher_needs_no_hub():
    unet = meta_unet(Teacher("CompVis/stable-diffusion-v1-4", architecture="sd14"))
    assert unet.conv_in.weight.is_meta
    assert params(unet) == 859_520_964


def test_the_meta_network_of_a_folder_has_the_folders_config(teacher_folder, toy_parts):
    spec = Teacher(str(teacher_folder), architecture="sd14")
    assert params(meta_unet(spec)) == params(toy_parts.unet)
    assert text_tokens(spec) == 12


def test_a_folder_is_loaded_bit_equal_and_frozen(teacher_folder, toy_parts):
    teacher = load_teacher(Teacher(str(teacher_folder)))
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(teacher, part), getattr(toy_parts, part).state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.state_dict().items())
        assert not ours.training
        assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert teacher.scheduler_config["prediction_type"] == "v_prediction"


def test_a_teacher_is_loaded_in_the_precision_that_is_asked_for(teacher_folder):
    teacher = load_teacher(Teacher(str(teacher_folder)), torch.bfloat16)
    assert {teacher.unet.dtype, teacher.vae.dtype, teacher.text_encoder.dtype} == {torch.bfloat16}


def test_the_unet_may_have_a_precision_of_its_own(teacher_folder, tiny_architecture):
    for spec in (Teacher(str(teacher_folder)), tiny_architecture):
        teacher = load_teacher(spec, unet_dtype=torch.bfloat16)
        assert teacher.unet.dtype == torch.bfloat16
        assert {teacher.vae.dtype, teacher.text_encoder.dtype} == {torch.float32}


def test_random_weights_are_those_of_their_seed(tiny_architecture):
    first, second = load_teacher(tiny_architecture), load_teacher(tiny_architecture)
    assert torch.equal(first.unet.conv_in.weight, second.unet.conv_in.weight)
    assert first.folder is None
    assert text_tokens(tiny_architecture) == 9


def test_random_weights_leave_the_global_generator_alone(tiny_architecture):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_teacher(tiny_architecture)
    assert torch.equal(torch.rand(1), expected)


def test_captions_need_a_tokenizer(tiny_architecture):
    with pytest.raises(ValueError, match="tokenizer must be there"):
        encode_text(load_teacher(tiny_architecture), ["a"])


@pytest.mark.parametrize("weights", ["pretrained", "random"])
@pytest.mark.parametrize("act", [check_teacher, load_teacher])
def test_a_teacher_with_added_conditions_is_refused_before_anything_is_downloaded(act, weights):
    spec = Teacher("nobody/sdxl", weights=weights, architecture="sdxl_base")
    with pytest.raises(ValueError, match=r"^teacher must have a U-Net without added conditions, not with addition_emb"):
        act(spec)


@pytest.mark.parametrize("act", [check_teacher, load_teacher])
def test_a_folder_of_a_network_with_added_conditions_is_refused(broken, act):
    path = broken / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"addition_embed_type": "text_time"}))
    with pytest.raises(ValueError, match=r"'text_time' .* can only be planned and counted, by ldc\.prune"):
        act(Teacher(str(broken)))


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    spec = Teacher("x/y", weights="random", architecture="sd3")
    with pytest.raises(ValueError, match=r"^architecture must be one of sd14, sd15, .*, not 'sd3'\.$"):
        check_teacher(spec)


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="weights must be pretrained or random, not 'zeros'"):
        Teacher("x/y", weights="zeros")


@pytest.mark.parametrize("act", [check_teacher, load_teacher])
def test_a_folder_without_weights_is_refused(broken, act):
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"^teacher must have weights, but .*unet has no \.safetensors or \.bin file\.$"
    ):
        act(Teacher(str(broken)))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_a_folder_without_a_part_is_refused(broken, part):
    shutil.rmtree(broken / part)
    with pytest.raises(ValueError, match=f"^teacher must be a StableDiffusionPipeline folder, but .* has no {part}/"):
        check_teacher(Teacher(str(broken)))


@pytest.mark.parametrize("path", ["/no/such/folder", "CompVis/not-reachable-here"])
def test_a_teacher_that_cannot_be_reached_is_refused_by_name(path):
    with pytest.raises(ValueError, match=f"^teacher must be an existing folder or a hub id .*, not {path!r}"):
        check_teacher(Teacher(path))


def test_a_student_with_other_latent_channels_is_refused(toy_parts, tiny_architecture):
    with pytest.raises(ValueError, match=r"must have the teacher's 8 latent channels \(in_channels\), not 4"):
        check_compatible(toy_parts, load_teacher(tiny_architecture))


def test_a_student_with_another_text_width_is_refused():
    v1, v2 = (meta_unet(Teacher(name, architecture=name)) for name in ("sd14", "sd21_base"))
    with pytest.raises(ValueError, match="must have the teacher's text width 768, not 1024"):
        check_compatible(v1, v2)


def test_a_student_of_the_teacher_fits_it(toy_parts):
    check_compatible(toy_parts, build_student(toy_parts.unet, Plan(), 32))


def test_the_published_sampler_calls_the_unet_26_times_in_25_steps():
    scheduler = PNDMScheduler.from_config(ARCHITECTURES["sd14"].scheduler)
    scheduler.set_timesteps(25)
    assert scheduler.timesteps.tolist() == [961, 921, *range(921, 0, -40)]
    assert len(scheduler.timesteps) == 26
