"""`ldc.quantize` in process, on a tiny Llama with a tokenizer of letters."""

import json
import string

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from ldc.models.language import load_language_student
from ldc.prune import main as prune
from ldc.quantize import main

SMALL = ("calibration.num_samples=4", "calibration.length=32")


@pytest.fixture
def llama(tiny_llama, tmp_path):
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - costs seconds

    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    folder = tmp_path / "llama"
    tiny_llama(num_hidden_layers=2, intermediate_size=192).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    return folder


@pytest.fixture
def quantised(command, llama, tmp_path):
    """`quantised(*arguments)`: what the command says of the quantised folder `out`."""

    def run(*arguments, student=llama):
        return command(
            main, f"student={student}", "data=pydoc", f"out={tmp_path / 'out'}", f"paths.outputs={tmp_path}",
            f"paths.cache={tmp_path / 'cache'}", *SMALL, *arguments,
        )  # fmt: skip

    return run


def test_the_summary_names_the_folder_its_size_and_its_errors(quantised, tmp_path):
    summary = quantised().summary
    assert summary["student"] == str(tmp_path / "out")
    assert (summary["bits"], summary["group_size"], summary["bits_per_weight"]) == (4, 64, 4.25)
    assert summary["weight_mb"] == (tmp_path / "out" / "model.safetensors").stat().st_size / 1e6
    assert 0 < summary["error"] < summary["error_of_rounding"]
    assert summary["parent_quantised"] is None
    assert load_language_student(tmp_path / "out").tokenizer is not None


def test_the_same_command_writes_the_same_weights(quantised, tmp_path):
    quantised().summary  # noqa: B018 - it must have worked
    first = (tmp_path / "out" / "model.safetensors").read_bytes()
    quantised().summary  # noqa: B018
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == first


def test_a_dry_run_tells_the_sizes_and_writes_nothing(quantised, tmp_path):
    summary = quantised("dry_run=true", "bits=8", "group_size=channel").summary
    assert summary["dry_run"]
    assert summary["group_size"] is None
    assert 8 < summary["bits_per_weight"] < 8.5
    assert not (tmp_path / "out").exists()


def test_a_dry_run_needs_no_weights(command, tmp_path):
    cache = f"paths.cache={tmp_path}"
    summary = command(main, "student=llama_7b", "data=pydoc", "dry_run=true", cache).summary
    assert summary["params"] == 6_738_415_616
    assert (summary["group_size"], summary["quantised_params"]) == (128, 32 * (202_383_360 - 2 * 4096))


def test_what_an_artifact_says_of_its_teacher_is_told(quantised, llama):
    artifact = {"schema": 1, "kind": "language_student", "id": "a", "config": {"teacher": {"quantised": "Q4_1"}}}
    (llama / "artifact.json").write_text(json.dumps(artifact))
    said = quantised("dry_run=true")
    assert said.summary["parent_quantised"] == "Q4_1"
    assert any("had already been through Q4_1" in line for line in said.err)


@pytest.fixture
def pruned(command, llama, tmp_path):
    """`pruned(teacher, *arguments)`: what `ldc.prune` says of a folder `pruned` with a block less."""

    def run(teacher, *arguments):
        chosen = ("pruner=depth_magnitude", "pruner.num_removed=1", f"out={tmp_path / 'pruned'}")
        return command(prune, f"teacher={teacher}", *chosen, *arguments)

    return run


def test_a_pruned_folder_hands_on_what_its_parent_had_been_through(quantised, pruned, llama, tmp_path):
    before = ("teacher._target_=ldc.models.language.LanguageTeacher", "+teacher.quantised=Q4_1")
    removed = pruned(llama, *before).summary["removed_blocks"]
    said = quantised(student=tmp_path / "pruned")
    assert said.summary["parent_quantised"] == "Q4_1"
    assert any("had already been through Q4_1" in line for line in said.err)
    facts, card = (tmp_path / "out" / name for name in ("quantisation.json", "README.md"))
    told = json.loads(facts.read_text())
    assert (told["parent"], told["origin"]) == (str(tmp_path / "pruned"), str(llama))
    assert told["parent_quantised"] == "Q4_1"
    for row in (f"| blocks removed | {removed[0]} |", "| criterion | magnitude", "| quantised before | Q4_1 |"):
        assert row in card.read_text()
    assert f"derived from `{llama}`" in card.read_text()


def test_what_was_made_in_a_folder_before_is_not_told_of_what_is_there_now(quantised, pruned, llama, tmp_path):
    pruned(llama, f"out={tmp_path / 'out'}").summary  # noqa: B018 - it must have worked
    quantised().summary  # noqa: B018
    assert not (tmp_path / "out" / "pruning.json").exists()
    assert not (tmp_path / "out" / "plan.json").exists()
    assert "blocks removed" not in (tmp_path / "out" / "README.md").read_text()


def test_pruning_a_quantised_folder_says_that_its_weights_become_plain_ones(quantised, pruned, tmp_path):
    quantised().summary  # noqa: B018 - it must have worked
    said = pruned(tmp_path / "out")
    sentence = "in 4 bits: they are dequantised to be pruned, and the student is written in float32"
    assert sum(sentence in line for line in said.err) == 1
    assert (said.summary["dequantised_from"], said.summary["parent_quantised"]) == ("4 bits", "4 bits")
    facts, card = (tmp_path / "pruned" / name for name in ("pruning.json", "README.md"))
    assert json.loads(facts.read_text())["dequantised_from"] == "4 bits"
    assert "| quantised before | 4 bits |" in card.read_text()
    assert "bits a quantised weight" not in card.read_text()
    assert any(sentence in line for line in pruned(tmp_path / "out", "dry_run=true").err)


def test_a_quantised_folder_is_not_quantised_again(quantised, tmp_path):
    assert quantised().code == 0
    again = quantised(student=tmp_path / "out")
    assert again.code == 2
    assert "must have plain weights to be quantised, but those of" in again.err[-1]


def test_a_model_is_not_overwritten_by_its_quantised_self(quantised, llama):
    said = quantised(f"out={llama}")
    assert said.code == 2
    assert said.err[-1].startswith("out must be another folder than the student's, not ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["group_size=5"], "group_size must divide the input width of every layer (64, 192), not be 5"),
        (["damp=2"], "damp must be above 0 and at most 1, not 2."),
        (["data=emoji64_mini"], "data must be text for this"),
        (["calibration.length=9999"], "length must be at most the model's context, 2048 tokens, not 9999."),
        (["device=moon"], "device must be one that this machine has"),
        (["student=/nowhere"], "/nowhere"),
        (["student=emoji_ldm"], "student must be a language model here"),
        (["student=emoji_ldm"], "choose student=smollm2_135m"),
    ],
)
def test_a_wrong_setting_is_a_sentence(quantised, tmp_path, arguments, sentence):
    said = quantised(*arguments)
    assert said.code == 2
    assert sentence in said.err[-1]
    assert not (tmp_path / "out").exists()


def test_a_quantised_model_is_computed_as_it_is_loaded(quantised, tmp_path):
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds

    quantised().summary  # noqa: B018 - it must have worked
    ids = torch.arange(3, 20)[None]
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(stock(ids).logits, load_language_student(tmp_path / "out").model(ids).logits)


def test_a_student_that_cannot_be_made_leaves_the_one_before_whole(quantised, llama, tmp_path):
    quantised().summary  # noqa: B018 - it must have worked
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for path in llama.glob("tokenizer*"):
        path.unlink()
    assert quantised().code == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
