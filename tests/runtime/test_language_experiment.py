"""Experiments of language models from end to end, on the tiny Llama with a tokenizer of letters."""

import shlex
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from ldc.artifacts import find
from ldc.models.language import load_language_student
from ldc.runtime import CONF, chain, prepare

TINY = (
    "stages.score.calibration.length=32",
    "stages.prune.calibration.length=32",
    "pruner.num_removed=3",
    "trainer.precision=32-true",
    "stages.retrain.max_steps=2",
    "stages.retrain.batch_size=2",
    "stages.retrain.length=32",
    "stages.retrain.schedule.warmup_steps=0",
    "stages.retrain.held_out.every=1",
    "stages.retrain.held_out.windows=2",
    "stages.evaluate.quality.window=32",
    "stages.evaluate.quality.windows=2",
    "stages.evaluate.quality.num_questions=0",
    "stages.evaluate.max_new_tokens=4",
)
TINY_OF = {  # of one experiment
    "shortened_llama_lora": (
        "stages.quantize.group_size=channel",
        "stages.quantize.calibration={num_samples: 4, length: 32, seed: 0}",
    )
}


@pytest.fixture
def run(trained, llama_folder, text_file):
    """Runs an experiment in small; returns the run's folder."""

    def start(experiment, *arguments):
        data = ["data=text_files", f"data.path={text_file}"]
        tiny = [*TINY, *TINY_OF.get(experiment, ())]
        return Path(trained(f"+experiment={experiment}", f"teacher={llama_folder}", *data, *tiny, *arguments)["run"])

    return start


@pytest.mark.integration
@pytest.mark.parametrize("experiment", ["shortened_llama_lora", "shortened_llama_cpt"])
def test_an_experiment_ends_in_a_stock_student_that_was_trained_and_measured(run, experiment):
    folder = run(experiment)
    pruned, retrained = (find(folder / stage) for stage in ("prune", "retrain"))
    model = AutoModelForCausalLM.from_pretrained(retrained.folder)
    assert type(model) is LlamaForCausalLM
    assert model.config.num_hidden_layers == 10 - len(pruned.metrics["removed_blocks"]) == 7
    assert (retrained.samples_seen, retrained.metrics["tokens"]) == (4, 4 * 32)
    rows = find(folder / "evaluate").metrics["table"]
    assert {"parent", "pruned", "retrained"} <= {row["model"] for row in rows}


@pytest.mark.integration
def test_the_card_of_a_retrained_student_names_its_lineage_and_what_was_measured(run, llama_folder):
    card = (run("shortened_llama_lora") / "retrain" / "README.md").read_text()
    assert str(llama_folder) in card
    assert "with LoRA of rank 8, merged" in card
    assert "| blocks removed |" in card
    assert "| tokens seen | 128 |" in card
    assert "| perplexity, " in card


@pytest.mark.integration
def test_a_finished_experiment_is_skipped_when_it_is_run_again(run, caplog):
    run("shortened_llama_cpt")
    caplog.clear()
    caplog.set_level("INFO")
    run("shortened_llama_cpt")
    assert sum("finished before, skipped" in text for text in caplog.messages) == 5


@pytest.mark.integration
def test_a_width_student_is_retrained_and_stays_one(run):
    folder = run("shortened_llama_cpt", "pruner=flap", "stages.prune.scores=null", "~stages.evaluate")
    widths = [
        [block.mlp.gate_proj.out_features for block in load_language_student(folder / stage).model.model.layers]
        for stage in ("prune", "retrain")
    ]
    assert widths[0] == widths[1]
    assert "load_language_student" in (folder / "retrain" / "README.md").read_text()


@pytest.mark.parametrize("pruner", ["wanda_sp", "flap", "llm_pruner"])
def test_a_width_pruner_needs_no_more_than_the_words_of_the_experiments_header(
    configured, llama_folder, text_file, pruner
):
    header = (CONF / "experiment" / "shortened_llama_lora.yaml").read_text()
    command = header.split("pruner=wanda_sp ")[1].split("(")[0].replace("\\", "").replace("#", "")
    words = ["+experiment=shortened_llama_lora", f"teacher={llama_folder}", "data=text_files", f"data.path={text_file}"]
    cfg = configured(*words, *TINY, f"pruner={pruner}", *shlex.split(command))
    prepare(cfg)
    assert [stage.name for stage in chain(cfg)] == ["prune", "encode", "retrain", "evaluate"]


@pytest.mark.integration
def test_a_retrained_student_is_quantised_and_measured_beside_the_others(run):
    folder = run("shortened_llama_lora")
    quantised = find(folder / "quantize")
    assert find(folder / "retrain").id in quantised.parents
    assert load_language_student(quantised.folder).model.config.num_hidden_layers == 7
    rows = {row["model"]: row for row in find(folder / "evaluate").metrics["table"]}
    assert rows["quantised"]["MB"] < rows["retrained"]["MB"]
    assert rows["quantised"]["params"] == rows["retrained"]["params"]
