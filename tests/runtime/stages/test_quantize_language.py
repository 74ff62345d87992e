import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ldc.artifacts import find
from ldc.models.language import load_language_student

ALONE = ("name=quantising", "+stages@stages.quantise=quantize_language")
AFTER_PRUNING = (
    "name=quantising",
    "+stages@stages.prune=prune_language",
    "+stages@stages.quantise=quantize_language",
    "stages.quantise.student=prune",
    "stages.prune.calibration.length=32",
    "pruner.num_removed=3",
)
SMALL = (
    "stages.quantise.calibration.num_samples=4",
    "stages.quantise.calibration.length=32",
    "stages.quantise.group_size=4",
)
IDS = torch.arange(3, 35)[None]


@pytest.fixture
def quantised(trained, llama_folder, text_file):
    """Runs a chain that quantises the tiny Llama; returns the artifact of its stage `quantise`."""

    def run(*arguments, chain=ALONE, pruner="depth_magnitude_plus"):
        data = ["data=text_files", f"data.path={text_file}", f"pruner={pruner}"]
        summary = trained(*chain, f"teacher={llama_folder}", *data, *SMALL, *arguments)
        return find(Path(summary["run"]) / "quantise")

    return run


def test_the_teacher_is_quantised_into_a_folder_that_stock_transformers_loads(quantised, llama_folder):
    artifact = quantised("stages.quantise.bits=8")
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (artifact.folder, llama_folder)
    )
    with torch.no_grad():
        ours, theirs = ours(IDS).logits, theirs(IDS).logits
    assert 0 < (ours - theirs).norm() < 0.01 * theirs.norm()
    assert (artifact.kind, artifact.weights) == ("language_student", "quantised")


def test_a_depth_student_is_quantised_and_named_as_parent(quantised):
    artifact = quantised(chain=AFTER_PRUNING)
    pruned = find(artifact.folder.parent / "prune")
    assert pruned.id in artifact.parents
    assert artifact.plan_fingerprint == pruned.plan_fingerprint
    assert len(load_language_student(artifact.folder).model.model.layers) == 7
    assert artifact.metrics["params"] == pruned.metrics["params"]


def test_the_metrics_are_those_of_what_was_written(quantised):
    artifact = quantised()
    metrics = artifact.metrics
    assert metrics["bits_per_weight"] == 4 + 16 / 4
    assert metrics["group_size"] == 4
    assert metrics["weight_mb"] == (artifact.folder / "model.safetensors").stat().st_size / 1e6
    assert metrics["bits_per_param"] * metrics["params"] / 8e6 == pytest.approx(metrics["weight_mb"], rel=0.1)
    assert 0 < metrics["error"] < metrics["error_of_rounding"]
    layers = json.loads((artifact.folder / "quantisation.json").read_text())["layers"]
    assert len(layers) == 10 * 7
    assert sum(layer["gptq"] for layer in layers) == metrics["error"]


def test_a_parent_whose_weights_were_quantised_is_told_of(quantised, caplog):
    caplog.set_level("WARNING")
    arguments = ("+teacher.quantised=Q4_1", "teacher._target_=ldc.models.language.LanguageTeacher")
    artifact = quantised(*arguments, chain=AFTER_PRUNING)
    assert artifact.metrics["parent_quantised"] == "Q4_1"
    assert "had already been through Q4_1" in caplog.text


def test_the_card_says_to_how_many_bits_and_how_it_is_loaded(quantised):
    card = (quantised().folder / "README.md").read_text()
    assert "quantised to 4 bits by GPTQ" in card
    assert "| bits a quantised weight | 8.00, scales included |" in card
    assert "compressed-tensors must be installed" in card


def test_a_card_of_weights_with_zero_points_loads_them(quantised):
    artifact = quantised("stages.quantise.symmetric=false")
    code = (artifact.folder / "README.md").read_text().split("```")[1].removeprefix("python")
    names = {}
    exec(code.replace("THIS_FOLDER", str(artifact.folder)), names)  # noqa: S102 - the card's own
    with torch.no_grad():
        ours, stock = load_language_student(artifact.folder).model(IDS).logits, names["model"].float()(IDS).logits
    assert (ours - stock).norm() < 0.01 * ours.norm()


def test_an_evaluation_measures_the_quantised_model_and_its_file(quantised):
    arguments = (
        "+stages@stages.evaluate=evaluate_language",
        "+stages.evaluate.settings.eight.model=quantise",
        "+stages.evaluate.settings.parent.model=teacher",
        "stages.evaluate.quality.window=32",
        "stages.evaluate.timed=[]",
        "stages.evaluate.max_new_tokens=2",
        "stages.quantise.bits=8",
        "+teacher.quantised=Q4_1",
        "teacher._target_=ldc.models.language.LanguageTeacher",
    )
    artifact = quantised(*arguments)
    evaluated = find(artifact.folder.parent / "evaluate")
    eight, parent = evaluated.metrics["table"]
    assert "The parent's weights had been through Q4_1" in (evaluated.folder / "table.md").read_text()
    assert json.loads((evaluated.folder / "table.json").read_text())["parent_quantised"] == "Q4_1"
    perplexities = [key for key in eight if key.startswith("ppl ")]
    assert perplexities
    assert [eight[key] for key in perplexities] == pytest.approx([parent[key] for key in perplexities], rel=0.01)
    assert all(eight[key] != parent[key] for key in perplexities)
    assert eight["MB"] < parent["MB"]


def test_other_settings_are_another_artifact(quantised):
    assert quantised("run=one").id != quantised("run=two", "stages.quantise.act_order=false").id


def test_a_width_student_is_refused_before_it_is_made(quantised, tmp_path):
    with pytest.raises(ValueError, match=r"stock config to be quantised.* student of stage 'prune' were cut"):
        quantised(chain=AFTER_PRUNING, pruner="wanda_sp")
    assert not (tmp_path / "outputs").exists()


def test_weights_that_an_earlier_stage_quantises_are_refused_before_it_runs(quantised, tmp_path):
    twice = ("+stages@stages.again=quantize_language", "stages.again.student=quantise")
    with pytest.raises(ValueError, match="must have plain weights to be quantised, but stage 'quantise' quantises"):
        quantised(*twice, *(f"stages.again.calibration.{name}" for name in ("num_samples=4", "length=32")))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("stages.quantise.group_size=null", r"must divide the input width of every layer \(64, 172\)"),
        ("stages.quantise.bits=9", "bits must be a whole number from 2 to 8, not 9"),
        ("stages.quantise.calibration.length=1000000", "length must be at most the model's context, 2048 tokens"),
        ("stages.quantise.calibration.length=1", "length must be a whole number from 2, not 1"),
        ("+stages.quantise.calibration.batch=1", "calibration must have num_samples, length, seed, not"),
        ("stages.quantise.student=prune", "takes 'prune', which no earlier stage makes"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(quantised, tmp_path, argument, sentence):
    with pytest.raises(ValueError, match=sentence):
        quantised(argument)
    assert not (tmp_path / "outputs").exists()
