"""A published teacher whose training goes on, in process, on a tiny one and a few pictures."""

import json
import shutil
from io import BytesIO

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from ldc import runtime, train
from ldc.artifacts import find
from ldc.runtime.parts import load_scheduler_config, scheduler_config
from ldc.runtime.paths import CONF
from ldc.runtime.stages.denoiser import check_process

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in {"red apple": (250, 0, 0), "blue heart": (0, 0, 250), "ghost": (99, 99, 99)}.items():
        content = BytesIO()
        Image.new("RGB", (32, 32), colour).save(content, "png")
        (folder / f"{name}.png").write_bytes(content.getvalue())
        (folder / f"{name}.txt").write_text(name)
    return folder


def config(root, teacher, pictures, *overrides):
    settings = [
        "+experiment=teacher_emoji_more",
        "data=folder",
        "data.size=32",
        f"data.path={pictures}",
        "data.prompts=[red apple]",
        f"teacher.path_or_id={teacher}",
        f"paths.outputs={root / 'outputs'}",
        f"paths.cache={root / 'cache'}",
        "run=tiny",
        "stages.denoiser.architecture.block_out_channels=[8,16,32,32]",
        "stages.denoiser.architecture.attention_head_dim=[1,2,4,4]",
        "stages.denoiser.architecture.norm_num_groups=4",
        "stages.denoiser.objective.num_strata=2",
        "stages.denoiser.max_steps=1",
        "stages.denoiser.batch_size=2",
        "stages.denoiser.schedule.warmup_steps=0",
        "stages.denoiser.optimizer.lr=1.0e-4",
        "stages.denoiser.grids.steps=[1]",
        "stages.publish.dtype=float32",
        "stages.publish.steps=1",
        "stages.publish.num_rows=1",
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", overrides=[*settings, *overrides])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, teacher_folder, pictures):
    root = tmp_path_factory.mktemp("run")
    train.main.task(config(root, teacher_folder, pictures))
    return root / "outputs" / "teacher_emoji_more" / "tiny"


def weights(folder):
    return load_file(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_the_trained_parts_go_on_from_the_teachers(run_folder, teacher_folder, part):
    before, after = weights(teacher_folder / part), weights(run_folder / "publish" / part)
    moved = [(after[name] - before[name]).abs().max().item() for name in before]
    assert max(moved) > 0
    assert max(moved) < 2e-4  # one step of Adam at 1e-4: nothing began anew


def test_the_autoencoder_stays(run_folder, teacher_folder):
    before, after = weights(teacher_folder / "vae"), weights(run_folder / "publish" / "vae")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_lineage_names_the_teachers_weights(run_folder):
    start = find(run_folder / "start")
    assert start.parents[0].startswith("teacher-")
    assert start.id in find(run_folder / "denoiser").parents


def test_the_card_says_where_training_went_on_from_but_not_in_which_folder_of_this_machine(run_folder, teacher_folder):
    assert str(teacher_folder.parent) not in (run_folder / "publish" / "README.md").read_text()
    assert f"it began as in `{teacher_folder.name}` (teacher-" in (run_folder / "publish" / "README.md").read_text()


def test_another_architecture_than_the_teachers_is_refused(tmp_path, run_folder, teacher_folder, pictures):
    cfg = config(tmp_path, teacher_folder, pictures, "stages.denoiser.architecture.block_out_channels=[8,16,32,64]")
    with pytest.raises(ValueError, match=r"^architecture must be that of the U-Net to start from, but .* is \("):
        train.main.task(cfg)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("prediction_type=epsilon", r"^scheduler\.prediction_type must be v_prediction, that of the U-Net to start"),
        ("beta_end=0.02", "^scheduler must have the noise schedule of the U-Net to start from, not another"),
    ],
)
def test_another_noise_process_than_the_teachers_is_refused(run_folder, setting, sentence):
    settings = OmegaConf.load(run_folder / "config.yaml").stages.denoiser.scheduler
    name, _, value = setting.partition("=")
    changed = scheduler_config({**settings, name: value if name == "prediction_type" else float(value)})
    check_process(load_scheduler_config(run_folder / "start"), scheduler_config(settings))
    with pytest.raises(ValueError, match=sentence):
        check_process(load_scheduler_config(run_folder / "start"), changed)


def test_a_teacher_without_a_tokenizer_is_no_start(tmp_path, teacher_folder, pictures):
    folder = shutil.copytree(teacher_folder, tmp_path / "wordless")
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(ValueError, match=r"^teacher must have a tokenizer to encode captions, but .* has none\.$"):
        list(runtime.chain(runtime.prepare(config(tmp_path, folder, pictures)).cfg))


def test_a_card_that_would_not_say_what_training_began_from_is_refused(tmp_path, teacher_folder, pictures):
    cfg = config(tmp_path, teacher_folder, pictures, "stages.publish.start=null")
    with pytest.raises(ValueError, match=r"^start must be start as in stage 'denoiser', not None\.$"):
        list(runtime.chain(runtime.prepare(cfg).cfg))


def test_random_weights_are_no_start(tmp_path, teacher_folder, pictures):
    cfg = config(tmp_path, teacher_folder, pictures, "teacher.weights=random")
    with pytest.raises(ValueError, match=r"^teacher\.weights must be pretrained .* not 'random'\.$"):
        list(runtime.chain(cfg))


def test_the_summary_is_json(run_folder):
    assert json.loads((run_folder / "summary.json").read_text())["stages"][0]["name"] == "start"
