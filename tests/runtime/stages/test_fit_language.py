"""Retraining of pruned language models from the command line: LoRA, all weights, distillation, curves, bad input."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import PeftModel
from transformers import LlamaForCausalLM

from ldc import train
from ldc.evaluation.language.retraining_curves import read_curve
from ldc.models.language import load_language_student
from ldc.runtime import CONF, chain, prepare
from tests.runtime.stages.language import save_teacher, write_text

pytestmark = pytest.mark.integration
RETRAINED = ("cpt_0", "cpt_1", "lora_0", "lora_1")
SHORT = ("max_steps=4", "batch_size=4", "length=16", "schedule.warmup_steps=1", "optimizer.lr=0.01")
HELD_OUT = ("held_out.every=2", "held_out.windows=6", "checkpoint.every=2")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    from tests.conftest import tiny_llama  # noqa: PLC0415 - a fixture of another scope

    model = tiny_llama.__wrapped__()(num_hidden_layers=8, tie_word_embeddings=True)
    return save_teacher(model, tmp_path_factory.mktemp("language") / "teacher")


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "a.txt")


@pytest.fixture(scope="session")
def arguments(teacher, text):
    """`arguments(experiment, *stages)`: a command line of the experiment on the tiny teacher, its fits cut short."""

    def build(experiment, *stages):
        data = ("data=text_files", f"data.path={text}", "data.chars_per_document=5", "data.held_out=0.2")
        model = ("teacher=custom_language", f"teacher.path_or_id={teacher}", "pruner.num_removed=2")
        fits = [f"stages.{stage}.{setting}" for stage in stages for setting in (*SHORT, *HELD_OUT)]
        calibration = ["stages.prune.calibration.length=10", "stages.prune.calibration.num_samples=4"]
        ends = ["~stages.quantize"] if experiment == "shortened_llama_lora" else []
        return [f"+experiment={experiment}", *data, *model, *calibration, *fits, *ends, "~stages.evaluate"]

    return build


@pytest.fixture(scope="module")
def severe(arguments, tmp_path_factory):
    """The folder of a finished run of the severe experiment."""
    folders = [f"paths.{name}={tmp_path_factory.mktemp(name)}" for name in ("outputs", "cache")]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("train", overrides=[*arguments("shortened_llama_severe", *RETRAINED), *folders])
    return Path(train.main.task(cfg)["run"])


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(2, 30).view(2, 14)).logits


def artifact(folder):
    return json.loads((folder / "artifact.json").read_text())


def test_the_severe_experiment_publishes_stock_models_and_compares_them(severe):
    pruned = LlamaForCausalLM.from_pretrained(severe / "prune", local_files_only=True)
    for stage in RETRAINED:
        model, info = LlamaForCausalLM.from_pretrained(
            severe / stage, output_loading_info=True, local_files_only=True, dtype=torch.float32
        )
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert len(model.model.layers) == 6
        assert not torch.allclose(logits(model), logits(pruned), atol=1e-3)
        assert artifact(severe / stage)["kind"] == "language_student"
        assert (severe / stage / "plan.json").read_text() == (severe / "prune" / "plan.json").read_text()
    figures = artifact(severe / "curves")["metrics"]
    assert (severe / "curves" / "curves.png").stat().st_size > 5000
    assert {f"{stage}/perplexity_at_equal_{axis}" for stage in RETRAINED for axis in ("tokens", "seconds")} <= set(
        figures
    )
    assert figures["tokens"] == 4 * 4 * 16


def test_adapters_are_saved_for_peft_and_are_what_was_merged(severe):
    base = load_language_student(severe / "prune").model
    loaded = PeftModel.from_pretrained(base, severe / "lora_0" / "lora").eval()
    merged = load_language_student(severe / "lora_0").model
    torch.testing.assert_close(logits(loaded), logits(merged), rtol=1e-4, atol=1e-4)
    assert artifact(severe / "lora_0")["base"] == str(severe / "prune")


def test_the_published_weights_are_those_of_the_lowest_held_out_loss(severe):
    found = artifact(severe / "lora_0")
    rows = read_curve(severe / "lora_0" / "held_out.csv")
    assert found["weights"] == "best"
    assert found["metrics"]["held_out/loss"] == min(row["loss"] for row in rows)
    assert artifact(severe / "cpt_0")["weights"] == "online"
    assert [row["step"] for row in rows] == [0, 2, 4]


def test_two_seeds_start_alike_and_end_apart(severe):
    first, second = (read_curve(severe / stage / "held_out.csv") for stage in ("cpt_0", "cpt_1"))
    assert first[0]["loss"] == second[0]["loss"]
    assert first[-1]["loss"] != second[-1]["loss"]


def test_a_student_is_distilled_from_its_parent_in_another_precision(trained, arguments):
    words = arguments("shortened_llama_cpt", "retrain")
    words += ["objective@stages.retrain.objective=logit_distillation", "trainer.teacher_dtype=bfloat16"]
    words += ["stages.retrain.dtype=bfloat16", "trainer.gradient_checkpointing=true", *scoring()]
    run = Path(trained(*words)["run"])
    metrics = artifact(run / "retrain")["metrics"]
    assert metrics["train/logits"] > 0
    assert metrics["train/total"] == pytest.approx(metrics["train/task"] + metrics["train/logits"])
    assert json.loads((run / "retrain" / "config.json").read_text())["dtype"] == "bfloat16"


def scoring():
    return ["stages.score.calibration.length=10", "stages.score.calibration.num_samples=4"]


def test_the_adapters_of_a_whole_teacher_learn_from_it(trained, arguments):
    words = arguments("shortened_llama_lora", "retrain")
    words += ["stages.retrain.student=teacher", "+objective@stages.retrain.objective=logit_distillation", *scoring()]
    words += ["+stages.retrain.lora.teacher=self"]
    run = Path(trained(*words)["run"])
    assert artifact(run / "retrain")["metrics"]["steps"] == 4
    assert len(load_language_student(run / "retrain").model.model.layers) == 8


def test_adapters_learn_answers_to_instructions(trained, arguments, tmp_path):
    rows = [{"instruction": f"document {n}", "output": f"{n} {n + 1} {n + 2}"} for n in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(rows))
    words = [*arguments("shortened_llama_lora", "retrain"), *scoring(), "~stages.encode"]
    words += [
        "+data@stages.retrain.instructions=instructions",
        f"stages.retrain.instructions.path={tmp_path}/alpaca.json",
    ]
    words += ["stages.retrain.encoded=null", "stages.retrain.length=64", "stages.retrain.micro_batch_size=2"]
    run = Path(trained(*words)["run"])
    rows = read_curve(run / "retrain" / "held_out.csv")
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize(
    "more", [("stages.retrain.encoded=null",), ("+data@stages.retrain.instructions=instructions",)]
)
def test_neither_or_both_of_texts_and_instructions_are_refused(configured, arguments, more):
    cfg = configured(*arguments("shortened_llama_lora", "retrain"), *more)
    prepare(cfg)
    with pytest.raises(ValueError, match="encoded must be null where instructions are given, and name a stage where"):
        list(chain(cfg))


def test_texts_are_no_instructions(configured, arguments):
    more = ("stages.retrain.encoded=null", "+data@stages.retrain.instructions=pydoc")
    cfg = configured(*arguments("shortened_llama_lora", "retrain"), *more)
    prepare(cfg)
    with pytest.raises(ValueError, match=r"data must be instructions for this, such as data=instructions, not"):
        list(chain(cfg))


def test_a_student_of_a_plan_is_retrained_into_one_of_the_same_plan(trained, arguments):
    words = [word for word in arguments("shortened_llama_lora", "retrain") if not word.startswith("pruner.")]
    words += ["pruner=flap", "~pruner.num_removed", "pruner.ratio=0.1", "stages.prune.scores=null", "~stages.score"]
    run = Path(trained(*words)["run"])
    pruned, retrained = (load_language_student(run / stage).model for stage in ("prune", "retrain"))
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (pruned, retrained)]
    assert shapes[0] == shapes[1]
    assert not torch.allclose(logits(pruned), logits(retrained), atol=1e-3)
    assert (run / "retrain" / "student.safetensors").is_file()
    assert not (run / "retrain" / "model.safetensors").exists()


def test_a_fit_that_is_stopped_ends_in_the_weights_and_the_curve_of_the_straight_one(trained, arguments, tmp_path):
    words = [*arguments("shortened_llama_lora", "retrain"), *scoring()]
    straight = Path(trained(*words, "run=straight")["run"]) / "retrain"
    first = Path(trained(*words, "run=resumed")["run"]) / "retrain"
    # As a kill behind step 3 leaves it: the checkpoint of step 2, a later row, no artifact.
    expected = {path.name: path.read_bytes() for path in first.glob("*.safetensors")}
    for path in [first / "artifact.json", *first.glob("*.safetensors"), *first.glob("checkpoints/step-00000004/*")]:
        path.unlink()
    trained(*words, "run=resumed")

    assert {path.name: path.read_bytes() for path in first.glob("*.safetensors")} == expected
    rows = [[row[name] for name in ("step", "tokens", "loss")] for row in read_curve(first / "held_out.csv")]
    assert rows == [[row[name] for name in ("step", "tokens", "loss")] for row in read_curve(straight / "held_out.csv")]


def test_too_little_held_out_text_is_refused_before_any_work(configured, arguments):
    cfg = configured(*arguments("shortened_llama_cpt", "retrain"), "data.held_out=0.001")
    prepare(cfg)
    with pytest.raises(ValueError, match="must have held-out documents, but it has none: raise held_out, or give"):
        list(chain(cfg))


def test_less_than_a_window_of_held_out_text_is_refused_with_the_setting(trained, arguments, tmp_path):
    (tmp_path / "apart.txt").write_text("document 60 is held out")
    apart = f"data.held_out_path={tmp_path / 'apart.txt'}"
    words = [*arguments("shortened_llama_cpt", "retrain"), apart, *scoring()]
    with pytest.raises(ValueError, match=r"at least 16 tokens, one window, not .*: raise held_out of the data"):
        trained(*words)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("stages.retrain.keep=first", r"^stages\.retrain\.keep must be best or last, not 'first'\."),
        ("stages.retrain.averaging=0.99", "averaging must be null with keep=best"),
        (
            "stages.retrain.student=encode",
            r"^stages\.retrain\.student must name a stage that makes language_student, not 'encode'",
        ),
        ("stages.retrain.encoded=prune", "encoded must name a stage that makes encoded_texts, not 'prune'"),
        ("stages.retrain.lora.targets=[q_proj,to_q]", "LoRA targets must name modules of LlamaForCausalLM, not to_q"),
        ("stages.retrain.lora.dropout=1.0", r"lora.dropout must be in \[0, 1\), not 1"),
        ("stages.retrain.lora.targets=q_proj", "lora.targets must be a list of module names, not 'q_proj'"),
        ("stages.retrain.length=4096", "length must be at most the model's context of 2048 tokens, not 4096"),
        ("stages.retrain.held_out.every=0", r"^stages\.retrain\.held_out\.every must be a whole number from 1, not 0"),
        ("stages.retrain.held_out.batch_size=0", "batch_size must be a whole number from 1, not 0"),
        (
            "stages.retrain.held_out.part=kjv",
            r"held_out.part must name held-out texts of the data \(text_files\)",
        ),
        (
            "stages.retrain.schedule.warmup_steps=4",
            r"^stages\.retrain\.schedule\.warmup_steps must be in \[0, 4\), not 4\.$",
        ),
        ("stages.retrain.dtype=int8", "must be float32, bfloat16, float16 or none, not 'int8'"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(configured, arguments, setting, sentence):
    cfg = configured(*arguments("shortened_llama_lora", "retrain"), setting)
    prepare(cfg)
    with pytest.raises(ValueError, match=sentence):
        list(chain(cfg))
