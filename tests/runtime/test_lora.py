"""LCM-LoRA from the command line: adapters, merged folder and what stock diffusers makes of both."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from hydra.errors import InstantiationException

from ldc.models import load_student, save_adapters
from ldc.models.generate import generate
from ldc.runtime import chain, prepare
from ldc.runtime.lora import Lora
from ldc.runtime.objectives import build_objective
from ldc.runtime.requirements import meta_teacher
from ldc.runtime.teachers import teacher_spec
from ldc.surgery import Plan

# Large steps, and alpha unlike rank, so that the adapters are far from zero and their scale matters.
LORA = ("stages.few_step.lora.rank=4", "stages.few_step.lora.alpha=8", "stages.few_step.optimizer.lr=0.05")


def common(teacher_folder, laion):
    data = ("data=shards", f"data.path={laion}", "data.size=32")
    return (f"teacher={teacher_folder}", *data, "~stages.evaluate", *LORA)


def pipeline(folder):
    return StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)


def answer(unet):
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 24, 16, generator=generator)
    with torch.no_grad():
        return unet(latents, torch.tensor([259, 999]), text).sample


def check_stock(student, base):
    """The merged folder is a stock pipeline, and equals the base with the adapters that diffusers loads."""
    merged, adapted = pipeline(student), pipeline(base)
    plain = answer(adapted.unet)
    adapted.load_lora_weights(student / "lora")
    torch.testing.assert_close(answer(adapted.unet), answer(merged.unet), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answer(merged.unet), plain, atol=1e-2)
    assert isinstance(merged.scheduler, LCMScheduler)
    assert merged.unet.config.time_cond_proj_dim is None
    image = merged("red apple", num_inference_steps=2, guidance_scale=1.0, output_type="np").images
    assert image.shape == (1, 32, 32, 3)


@pytest.mark.integration
def test_the_teacher_with_adapters_is_its_own_student(trained, teacher_folder, laion):
    summary = trained("+experiment=lcm_lora", *common(teacher_folder, laion), fits=["few_step"])
    folder = Path(summary["run"]) / "few_step"
    artifact = json.loads((folder / "artifact.json").read_text())
    assert artifact["base"] == str(teacher_folder)
    assert artifact["guidance"]["convention"] == "none"
    assert artifact["samples_seen"] == 4
    check_stock(folder, teacher_folder)
    student = load_student(folder)
    assert len(generate(student, ["ghost"], steps=2, seed=0)) == 1
    with pytest.raises(ValueError, match=r"guidance_scale must be in \[1, 1\]"):
        generate(student, ["ghost"], steps=2, seed=0, guidance_scale=7.5)


@pytest.mark.integration
def test_a_pruned_student_learns_few_steps_from_another_teacher_by_adapters(trained, teacher_folder, laion):
    arguments = ("+experiment=lcm_lora_bksdm", *common(teacher_folder, laion), "trainer.teacher_dtype=bfloat16")
    arguments += ("stages.few_step.averaging=0.5",)
    summary = trained(*arguments, fits=["distil", "few_step"])
    run = Path(summary["run"])
    artifact = json.loads((run / "few_step" / "artifact.json").read_text())
    assert artifact["base"] == str(run / "distil")
    assert artifact["weights"] == "average"
    check_stock(run / "few_step", run / "distil")


@pytest.mark.parametrize(("given", "w"), [("null", 6.5), ("4.0", 4.0)])
def test_a_student_without_guidance_embedding_learns_one_guidance(configured, teacher_folder, given, w):
    setting = f"stages.few_step.objective.guidance_range={given}"
    cfg = configured("+experiment=lcm_lora", f"teacher={teacher_folder}", setting)
    teacher = meta_teacher(teacher_spec(cfg.teacher))
    objective = build_objective(cfg.stages.few_step.objective, teacher, Plan(()), seed=0)
    assert objective.guidance_range == (w, w)
    assert objective.needs == ("teacher",)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("trainer.teacher_dtype=bfloat16", "teacher_dtype must be null with lora.teacher=self.*not 'bfloat16'"),
        ("stages.few_step.lora.rank=0", "lora.rank must be at least 1, not 0"),
        ("stages.few_step.lora.teacher=none", "lora.teacher must be self or other, not 'none'"),
        ("stages.few_step.objective.guidance_embedding_dim=256", "null with lora, which adds no input, not 256"),
        ("stages.few_step.objective.target=average", "target_decay must be given for ConsistencyDistillation"),
        ("stages.few_step.objective.loss=l3", "loss must be l2 or huber, not 'l3'"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(configured, teacher_folder, laion, setting, sentence):
    cfg = configured("+experiment=lcm_lora", *common(teacher_folder, laion), setting)
    prepare(cfg)
    with pytest.raises((ValueError, InstantiationException), match=sentence):
        list(chain(cfg))


def test_adapters_without_alpha_are_refused():
    with pytest.raises(ValueError, match=r"lora must have rank, alpha and, as options, .*, not rank, alpa"):
        Lora.from_config({"rank": 4, "alpa": 4})


def test_a_few_step_model_is_refused_as_a_teacher(configured, teacher_folder, laion, tmp_path):
    for path in teacher_folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / "lcm" / path.relative_to(teacher_folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    config = tmp_path / "lcm" / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"time_cond_proj_dim": 256}))
    cfg = configured("+experiment=lcm_lora", *common(tmp_path / "lcm", laion))
    prepare(cfg)
    with pytest.raises(ValueError, match=r"must have no guidance embedding, but .*/lcm is a few-step model"):
        list(chain(cfg))


def test_a_network_without_adapters_has_none_to_save(teacher_folder, tmp_path):
    with pytest.raises(ValueError, match="unet must have LoRA adapters to be saved"):
        save_adapters(tmp_path, load_student(teacher_folder).unet)


def test_the_student_itself_is_the_default_teacher():
    assert Lora.from_config({"rank": 4, "alpha": 4}).is_own_teacher
    assert Lora.from_config(None) is None
