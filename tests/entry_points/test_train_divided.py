"""A command whose fit is divided among processes that Lightning's own launcher starts."""

import json
import os
import subprocess
import sys

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

pytestmark = pytest.mark.integration


def train(outputs, cache, run, *words):
    """Returns the summary of a chain that ends with two steps of block distillation."""
    short = ["max_steps=2", "batch_size=2", "averaging=0.9999", "schedule.warmup_steps=0", "grids.steps=[1]"]
    arguments = [f"stages.distil.{setting}" for setting in short] + ["~stages.few_step", "~stages.evaluate"]
    place = [f"paths.outputs={outputs}", f"paths.cache={cache}", f"run={run}", "metric=null"]
    command = [sys.executable, "-m", "ldc.train", "+experiment=lcm_bksdm", *arguments, *place, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert process.returncode == 0, process.stderr[-2000:]
    (line,) = process.stdout.splitlines()
    return json.loads(line)


def test_a_student_trained_by_fsdp2_is_published_as_from_one_process(tmp_path, cache):
    on_cpus = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true", "trainer.compile=false"]
    divided = train(tmp_path, cache, "divided", "trainer=fsdp2", *on_cpus, "trainer.teacher_dtype=null")
    plain = train(tmp_path, cache, "plain", "trainer=cpu")

    stages = [summary["stages"][-1] for summary in (divided, plain)]
    assert [stage["name"] for stage in stages] == ["distil", "distil"]
    assert stages[0]["id"] == stages[1]["id"]
    ours, theirs = (UNet2DConditionModel.from_pretrained(f"{stage['folder']}/unet") for stage in stages)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-3, atol=1e-4)
