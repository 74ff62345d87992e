import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM

from ldc.artifacts import find
from ldc.models.language import load_language_student
from ldc.runtime.composing import train_config

ALONE = ("name=pruning", "+stages@stages.prune=prune_language", "stages.prune.calibration.length=32")
SCORED = (
    "name=pruning",
    "+stages@stages.score=score_blocks",
    "+stages@stages.prune=prune_language",
    "stages.prune.scores=score",
    *(f"stages.{stage}.calibration.length=32" for stage in ("score", "prune")),
)


@pytest.fixture
def pruned(trained, llama_folder, text_file):
    """Runs a chain that prunes the tiny Llama; returns the artifact of its stage `prune`."""

    def run(*arguments, chain=ALONE):
        data = ["data=text_files", f"data.path={text_file}"]
        summary = trained(*chain, f"teacher={llama_folder}", *data, *arguments)
        return find(Path(summary["run"]) / "prune")

    return run


def test_a_depth_student_is_the_teacher_without_the_blocks_that_the_metrics_name(pruned, llama_folder):
    artifact = pruned("pruner=depth_perplexity", "pruner.num_removed=3")
    teacher, student = (AutoModelForCausalLM.from_pretrained(folder) for folder in (llama_folder, artifact.folder))
    assert artifact.metrics["removed_blocks"] == sorted(artifact.metrics["removed_blocks"])
    assert len(artifact.metrics["removed_blocks"]) == 3
    left = [index for index in range(10) if index not in artifact.metrics["removed_blocks"]]
    for ours, index in enumerate(left):
        theirs = teacher.model.layers[index].state_dict()
        assert all(torch.equal(t, theirs[name]) for name, t in student.model.layers[ours].state_dict().items())
    assert artifact.metrics["params"] == 379_584
    assert artifact.metrics["removed_ratio"] == 1 - 379_584 / artifact.metrics["parent_params"]


def test_scores_of_an_earlier_stage_give_the_plan_that_the_pruner_makes_by_itself(pruned):
    arguments = ("pruner=depth_taylor_plus", "pruner.num_removed=2")
    alone, after = pruned(*arguments), pruned(*arguments, chain=SCORED)
    assert alone.plan_fingerprint == after.plan_fingerprint
    assert alone.metrics["calibration"] == after.metrics["calibration"] is not None


def test_a_pruner_that_scores_by_itself_says_so_and_shows_how_far_it_is(pruned, caplog, capsys):
    caplog.set_level("INFO")
    pruned("pruner=depth_perplexity", "pruner.num_removed=2")
    assert "Scoring 10 blocks by perplexity." in caplog.messages
    assert "perplexity: 100%" in capsys.readouterr().err


def test_an_iterative_pruner_scores_again_by_itself(pruned):
    artifact = pruned("pruner=depth_perplexity", "pruner.num_removed=2", "pruner.iterative=true")
    assert len(artifact.metrics["removed_blocks"]) == 2


@pytest.mark.parametrize("pruner", ["wanda_sp", "flap", "llm_pruner"])
def test_a_width_student_has_the_counts_that_the_metrics_name(pruned, pruner):
    artifact = pruned(f"pruner={pruner}", "pruner.num_removed=3")
    model = load_language_student(artifact.folder).model
    assert artifact.metrics["params"] == sum(parameter.numel() for parameter in model.parameters())
    assert artifact.metrics["neurons"] == [block.mlp.gate_proj.out_features for block in model.model.layers]
    assert artifact.metrics["removed_blocks"] == []


def test_flaps_biases_are_in_the_student(pruned):
    model = load_language_student(pruned("pruner=flap", "pruner.num_removed=3").folder).model
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith(".bias")]
    assert biases
    assert all(bias.abs().sum() > 0 for bias in biases)


@pytest.mark.parametrize("pruner", ["depth_magnitude", "wanda_sp"])
def test_a_random_student_has_the_shape_and_none_of_the_weights(pruned, pruner):
    taken = pruned(f"pruner={pruner}", "pruner.num_removed=3")
    drawn = pruned(f"pruner={pruner}", "pruner.num_removed=3", "stages.prune.initialise=random")
    assert (taken.weights, drawn.weights) == ("pruned", "random")
    ours, theirs = (load_language_student(artifact.folder).model.state_dict() for artifact in (drawn, taken))
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    assert not any(torch.equal(tensor, theirs[name]) for name, tensor in ours.items() if "proj" in name)


def test_the_log_says_which_blocks_go(pruned, caplog):
    caplog.set_level("INFO")
    removed = pruned("pruner=depth_magnitude", "pruner.num_removed=1").metrics["removed_blocks"]
    [table] = [text for text in caplog.messages if text.lstrip().startswith("blocks  become")]
    assert any(line.split()[:2] == [str(removed[0]), "-"] for line in table.splitlines())


def test_a_half_precision_checkpoint_is_scored_in_float32_and_the_log_says_so(
    pruned, tiny_llama, letters, tmp_path, caplog
):
    caplog.set_level("INFO")
    whole, half = tmp_path / "rounded", tmp_path / "half"
    tiny_llama().half().float().save_pretrained(whole)
    tiny_llama().half().save_pretrained(half)
    removed = []
    for folder in (whole, half):
        letters.save_pretrained(folder)
        artifact = pruned("pruner=depth_taylor", "pruner.num_removed=3", f"teacher={folder}")
        removed.append(artifact.metrics["removed_blocks"])
    assert removed[0] == removed[1]
    assert f"The weights of {half} are stored in float16 and loaded in float32." in caplog.messages


def test_the_card_names_the_criterion_and_what_the_teacher_had_been_through(pruned, llama_folder):
    told = ("teacher._target_=ldc.models.language.LanguageTeacher", "+teacher.quantised=Q4_1")
    artifact = pruned("pruner=depth_magnitude_plus", "pruner.num_removed=1", *told)
    card, facts = ((artifact.folder / name).read_text() for name in ("README.md", "pruning.json"))
    assert "| criterion | magnitude, the first 4 blocks and the last 2 not among them |" in card
    assert "| budget | num_removed=1 |" in card
    assert "| quantised before | Q4_1 |" in card
    facts = json.loads(facts)
    assert (facts["origin"], facts["parent_quantised"], facts["criterion"]) == (str(llama_folder), "Q4_1", "magnitude")


def test_random_weights_had_been_through_nothing(pruned):
    told = ("teacher._target_=ldc.models.language.LanguageTeacher", "+teacher.quantised=Q4_1")
    artifact = pruned("pruner=depth_magnitude", "pruner.num_removed=1", "stages.prune.initialise=random", *told)
    assert artifact.metrics["parent_quantised"] is None
    assert "quantised before" not in (artifact.folder / "README.md").read_text()


def test_the_card_names_the_base_and_the_removed_blocks(pruned, llama_folder):
    artifact = pruned("pruner=depth_magnitude", "pruner.num_removed=1")
    card = (artifact.folder / "README.md").read_text()
    assert str(llama_folder) in card
    assert f"| blocks removed | {artifact.metrics['removed_blocks'][0]} |" in card
    assert "AutoModelForCausalLM.from_pretrained" in card


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pruner.num_removed=5",), "num_removed must be at most 4, the number of blocks"),
        (("pruner=flap", "stages.prune.calibration.length=1"), "length must be a whole number from 2, not 1."),
        (("pruner=bksdm_tiny",), "pruner must be one of language models, not BlockRemoval"),
        (("pruner=flap", "pruner.num_removed=10"), "num_removed must be below the model's 10 blocks, not 10."),
        (("stages.prune.pruner=null",), "pruner must be one of language models, such as depth_perplexity, not null."),
        (("pruner=flap", "stages.prune.initialise=zeros"), "initialise must be teacher or random, not 'zeros'."),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(pruned, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pruned("pruner=depth_perplexity", *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pruner=depth_taylor", "pruner.iterative=true"), "scores must be null with iterative=true"),
        (("pruner=depth_taylor", "~stages.score.criteria.taylor"), "scores must name a stage that scores by taylor"),
        (("pruner=flap",), r"^stages\.prune\.scores must be null with Flap, which scores channels, not 'score'\."),
    ],
)
def test_scores_that_the_pruner_has_no_use_for_are_refused(pruned, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pruned(*arguments, "pruner.num_removed=2", chain=SCORED)


@pytest.mark.parametrize("experiment", ["lora", "cpt", "severe"])
def test_a_pruner_of_u_nets_is_refused_as_one_and_not_for_the_experiments_budget(experiment):
    with pytest.raises(ValueError, match=r"pruner must be one of language models, not BlockRemoval, which .* choose"):
        train_config([f"+experiment=shortened_llama_{experiment}", "pruner=bksdm_tiny"])


def test_an_encoder_is_refused(pruned, tmp_path):
    config = BertConfig(vocab_size=32, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="must be a decoder-only language model, such as LlamaForCausalLM, not Bert"):
        pruned("pruner=depth_perplexity", "pruner.num_removed=1", f"teacher={tmp_path / 'bert'}")


def test_a_diffusion_teacher_is_refused(trained):
    with pytest.raises(ValueError, match=r"must be a language model here, .*: choose teacher=smollm2_135m"):
        trained(*ALONE, "teacher=emoji_ldm", "pruner=flap", "data=pydoc")


def test_texts_that_are_too_short_are_refused(pruned, tmp_path):
    (tmp_path / "short.jsonl").write_text("\n".join(json.dumps({"text": f"word {n}"}) for n in range(60)))
    with pytest.raises(ValueError, match="num_samples must be at most 0, the documents with 32 tokens or more"):
        pruned("pruner=flap", f"data.path={tmp_path / 'short.jsonl'}")


def test_no_text_is_refused(pruned, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="must have documents to train on, but it has none"):
        pruned("pruner=flap", f"data.path={tmp_path / 'empty.jsonl'}")


def test_a_tokenizer_without_bos_is_refused_where_every_sample_begins_with_it(pruned, llama_folder):
    path = llama_folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bos_token": None}))
    with pytest.raises(ValueError, match="the tokenizer must have a BOS token when add_bos_to_every is true"):
        pruned("pruner=flap", "stages.prune.calibration.add_bos_to_every=true")
