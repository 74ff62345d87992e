"""The main experiment on shards as img2dataset writes them, and the public teachers without their weights."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_lcm import LCMScheduler


def check_stock(folder, few_step):
    """The folder is a stock pipeline that draws; its U-Net is in every bit what `unet/` holds."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    assert isinstance(pipe.scheduler, LCMScheduler) == few_step
    assert (pipe.unet.config.time_cond_proj_dim == 256) == few_step
    torch.manual_seed(0)
    image = pipe("red apple", num_inference_steps=2, guidance_scale=8.0, output_type="np").images
    assert image.shape == (1, 32, 32, 3)
    assert image.std() > 0


@pytest.mark.integration
def test_the_main_experiment_runs_on_laion_shards_and_every_student_is_a_stock_pipeline(trained, teacher_folder, laion):
    arguments = (
        "+experiment=lcm_bksdm",
        f"teacher={teacher_folder}",
        "data=laion",
        f"data.path={laion / '{00000..00001}.tar'}",
        "data.size=32",
        "stages.encode.text=false",
        "~stages.evaluate",
    )
    summary = trained(*arguments, fits=["distil", "few_step"])
    run = Path(summary["run"])
    assert [stage["samples_seen"] for stage in summary["stages"]] == [0, 0, 4, 4]
    encoded = json.loads((run / "encode" / "artifact.json").read_text())["metrics"]
    assert encoded["samples"] == 16
    assert encoded["filtered"] == {"aesthetic": 1, "watermark": 1, "size": 1}
    for name, few_step in {"prune": False, "distil": False, "few_step": True}.items():
        check_stock(run / name, few_step)
    again = trained(*arguments, fits=["distil", "few_step"])
    assert again["stages"] == summary["stages"]  # finished before


@pytest.mark.integration
@pytest.mark.parametrize("teacher", ["sd14", "sd15", "sd21_base", "sd21", "realistic_vision_51"])
def test_a_public_teacher_is_checked_without_its_weights(trained, teacher):
    summary = trained("+experiment=lcm_bksdm", f"teacher={teacher}", "teacher.weights=random", "dry_run=true")
    assert [stage["name"] for stage in summary["stages"]] == ["encode", "prune", "distil", "few_step", "evaluate"]
    assert not Path(summary["run"]).exists()
