"""The whole chain on the embedded data, two steps a stage."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from ldc.train import main

pytestmark = pytest.mark.integration
STAGES = ["encode", "prune", "distil", "few_step", "evaluate"]
SETTINGS = "{teacher: {model: teacher, steps: 1}, distil: {model: distil, steps: 1}, few: {model: few_step, steps: 1}}"


def arguments(outputs, cache, *more):
    settings = ["max_steps=2", "batch_size=2", "schedule.warmup_steps=0", "grids.steps=[1]", "grids.columns=2"]
    short = [f"stages.{stage}.{setting}" for stage in ("distil", "few_step") for setting in settings]
    evaluation = ["~stages.evaluate.settings", f"+stages.evaluate.settings={SETTINGS}"]
    evaluation += ["stages.evaluate.picture=[teacher,few]", "stages.evaluate.num_images=8"]
    place = [f"paths.outputs={outputs}", f"paths.cache={cache}", "run=tiny"]
    return ["+experiment=lcm_bksdm", *place, *short, *evaluation, *more]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def first(outputs, cache):
    """The summary of the first run, in a process of its own, as a user starts it."""
    process = python(*arguments(outputs, cache), check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    (line,) = process.stdout.splitlines()
    return json.loads(line)


@pytest.fixture
def copy(first, outputs, tmp_path):
    """The finished run, to be damaged."""
    shutil.copytree(outputs, tmp_path / "outputs")
    return tmp_path / "outputs"


def python(*words, start=subprocess.run, **options):
    words = [sys.executable, "-m", "ldc.train", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return start(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes, **options)


def weights(outputs, stage):
    return load_file(outputs / "lcm_bksdm" / "tiny" / stage / "unet" / "diffusion_pytorch_model.safetensors")


def test_the_chain_sums_up_its_stages_and_its_table(first, outputs):
    folder = outputs / "lcm_bksdm" / "tiny"
    assert first["run"] == str(folder)
    assert [stage["name"] for stage in first["stages"]] == STAGES
    assert [row["model"] for row in first["table"]] == ["teacher", "distil", "few"]
    assert json.loads((folder / "summary.json").read_text()) == first
    assert (folder / "samples" / "comparison.png").is_file()


def test_a_finished_run_is_skipped_stage_by_stage(first, outputs, cache, command):
    said = command(main, *arguments(outputs, cache))
    assert said.summary == first
    assert sum("finished before, skipped." in line for line in said.err) == len(STAGES)


def test_a_run_of_another_config_is_refused_before_it_is_touched(first, outputs, cache, refused):
    before = (outputs / "lcm_bksdm" / "tiny" / "config.yaml").read_text()
    said = refused(main, *arguments(outputs, cache, "stages.few_step.target_decay=0.5"))
    assert "choose another run=NAME, or start anew with fresh=true." in said
    assert (outputs / "lcm_bksdm" / "tiny" / "config.yaml").read_text() == before


def test_a_stage_without_its_artifact_is_made_again_with_what_came_from_it(copy, cache, command):
    (copy / "lcm_bksdm" / "tiny" / "few_step" / "artifact.json").unlink()
    expected = weights(copy, "few_step")
    said = command(main, *arguments(copy, cache))
    assert said.code == 0
    made = [line for line in said.err if line.startswith("Stage ") and "finished before" not in line]
    assert [line.split()[1].rstrip(":") for line in made if "made from" not in line] == ["few_step", "evaluate"]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(copy, "few_step").items())


def test_one_stage_is_made_alone_and_anew(copy, cache, command):
    said = command(main, *arguments(copy, cache, "stage=distil", "fresh=true"))
    assert [stage["name"] for stage in said.summary["stages"]] == ["encode", "prune", "distil"]
    assert not (copy / "lcm_bksdm" / "tiny" / "few_step" / "artifact.json").exists()


def test_a_run_killed_in_training_ends_in_the_same_weights(first, tmp_path, cache, command):
    """SIGTERM once a checkpoint of distil is there; then the same command, against a run that nobody stopped."""
    longer = ["stages.distil.max_steps=40", "stages.distil.checkpoint.every=1", "stage=distil"]
    for name in ("killed", "whole"):
        for stage in ("encode", "prune"):
            shutil.copytree(f"{first['run']}/{stage}", tmp_path / name / "lcm_bksdm" / "tiny" / stage)
    process = python(*arguments(tmp_path / "killed", cache, *longer), start=subprocess.Popen)
    checkpoint = tmp_path / "killed" / "lcm_bksdm" / "tiny" / "distil" / "checkpoints" / "step-00000001"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, out) == (143, ""), err[-2000:]
    assert not (checkpoint.parent.parent / "artifact.json").exists()

    for name in ("killed", "whole"):
        assert command(main, *arguments(tmp_path / name, cache, *longer)).code == 0
    ends = [weights(tmp_path / name, "distil") for name in ("killed", "whole")]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
