"""U-Nets with feature taps and gradient checkpointing train, and are published, alike under every strategy."""

import functools
import json

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.distributed.tensor import DTensor

from ldc import randomness
from ldc.diffusion.process import Process
from ldc.objectives import ConsistencyDistillation
from ldc.objectives.lora import AdaptersOff, add_lora
from ldc.training import DistillationModule, WeightAverage, adamw, fit, loggers
from ldc.training.csv_log import read
from tests.training.conftest import ToyData, collate
from tests.training.unets import small_unet

pytestmark = pytest.mark.integration

# Name, strategy and settings of each fit; what they have in common is in `train`.
FITS = {
    "ddp": ("ddp", {}),
    "fsdp2": ("fsdp2", {}),
    "fsdp2, teacher sharded": ("fsdp2", {"shard_teacher": True}),
    "deepspeed_zero1": ("deepspeed_zero1", {}),
    "deepspeed_zero2": ("deepspeed_zero2", {}),
    "deepspeed_zero3": ("deepspeed_zero3", {}),
    "ddp, bf16-mixed": ("ddp", {"precision": "bf16-mixed"}),
    "deepspeed_zero2, bf16-mixed": ("deepspeed_zero2", {"precision": "bf16-mixed"}),
}
OTHERS = [name for name in FITS if name != "ddp" and "bf16" not in name]
ADAPTED = ("ddp", "fsdp2", "deepspeed_zero3")  # by adapters, with the student's own weights as teacher
STEPS = 3
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


class Texts(ToyData):
    """Latents with a text for each."""

    def train_dataloader(self):
        loader = super().train_dataloader()
        loader.collate_fn = with_texts
        return loader


def with_texts(samples):
    positions = [position for position, _ in samples]
    texts = randomness.normal(0, "text", positions, (3, 8))
    return collate(samples)._replace(text=texts, empty_text=torch.zeros(1, 3, 8))


def parts():
    """Returns objective, student, teacher and decay of a consistency distillation of all weights."""
    process = Process.from_config({"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"})
    points = [(point, point) for point in ("down_blocks.0", "mid_block")]
    objective = ConsistencyDistillation(
        process, guidance_range=(0.5, 4.0), guidance_embedding_dim=16, feature_points=points, feature_weight=0.1
    )
    return objective, small_unet(0, time_cond_proj_dim=16, sample_size=4), small_unet(1, sample_size=4), 0.95


def adapted_parts():
    """Returns the same of LCM-LoRA, whose teacher is the student without its adapters."""
    process = Process.from_config({"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"})
    objective = ConsistencyDistillation(process, guidance_range=2.0, guidance_embedding_dim=None, target="online")
    student = add_lora(small_unet(0, sample_size=4), 4, 4)
    return objective, student, AdaptersOff(student), None


def train(folder, strategy, make=parts, **options):
    objective, student, teacher, decay = make()
    module = DistillationModule(
        objective,
        student,
        teacher,
        optimizer=functools.partial(adamw, lr=1e-3),
        target_decay=decay,
        gradient_checkpointing=True,
    )
    result = fit(
        module,
        Texts(STEPS, 2),
        folder=folder,
        max_steps=STEPS,
        gradient_clip_val=1.0,
        log_every_n_steps=1,
        average=WeightAverage(),
        loggers=loggers(["csv"], folder, "run"),
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        timeout_seconds=60,
        progress=False,
        **options,
    )
    if result.student is not None:
        save(result.student, folder)
    elif module.trainer.is_global_zero:
        with result.average.applied(module.bare_student) as averaged:
            save(averaged, folder)
    return module


def save(student, folder):
    torch.save(student.state_dict(), folder / "student.pt")
    if not any("lora" in name for name in student.state_dict()):
        student.save_pretrained(folder / "unet")


def work(folder, _rank):
    """Returns by fit whether the teacher's parameters are sharded."""
    sharded = {}
    for name, (strategy, options) in FITS.items():
        module = train(folder / name, strategy, **options)
        sharded[name] = {isinstance(p, DTensor) for p in module.teacher.parameters()}
    for name in ADAPTED:
        train(folder / f"{name}, adapters", name, adapted_parts)
    return sharded


@pytest.fixture(scope="module")
def runs(torchrun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return folder, torchrun(functools.partial(work, folder), 2, folder)


def losses(folder):
    return torch.tensor([[float(value) for value in row.values()] for row in read(folder / "metrics.csv")])


@pytest.mark.parametrize("name", OTHERS)
def test_losses_and_features_are_those_of_ddp(name, runs):
    expected = losses(runs[0] / "ddp")
    torch.testing.assert_close(losses(runs[0] / name), expected, **TOLERANCE)
    assert len(expected) == STEPS


@pytest.mark.parametrize("name", OTHERS)
def test_the_published_folder_is_the_stock_folder_of_ddp(name, runs):
    ours, theirs = (UNet2DConditionModel.from_pretrained(runs[0] / fit_name / "unet") for fit_name in (name, "ddp"))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), **TOLERANCE)
    configs = [json.loads((runs[0] / fit_name / "unet/config.json").read_text()) for fit_name in (name, "ddp")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("name", ADAPTED[1:])
def test_adapters_on_divided_weights_are_those_of_ddp(name, runs):
    ours, theirs = (runs[0] / f"{strategy}, adapters" for strategy in (name, "ddp"))
    torch.testing.assert_close(losses(ours), losses(theirs), **TOLERANCE)
    weights = [torch.load(folder / "student.pt") for folder in (ours, theirs)]
    # AdamW's first steps are as long for gradients that are all rounding as for others: a hundredth of a step.
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)
    assert any("lora_B" in key and value.abs().max() > 0 for key, value in weights[0].items())


def test_zero_computes_in_bfloat16_what_ddp_does(runs):
    mixed = losses(runs[0] / "ddp, bf16-mixed")
    torch.testing.assert_close(losses(runs[0] / "deepspeed_zero2, bf16-mixed"), mixed, **TOLERANCE)
    assert not torch.allclose(mixed, losses(runs[0] / "ddp"), **TOLERANCE)


def test_the_teacher_is_sharded_where_that_is_asked_for(runs):
    for rank in runs[1]:
        assert {name for name, kinds in rank.items() if kinds == {True}} == {"fsdp2, teacher sharded"}
