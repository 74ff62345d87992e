"""`ldc.prune` and `ldc.generate` on language models, as a shell would run them."""

import json
import string

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ldc.generate import main as generate
from ldc.models.language import load_language_student
from ldc.prune import main as prune

LLAMA_7B = 6_738_415_616


@pytest.fixture
def tiny(tiny_llama, tmp_path):
    """A folder of the tiny Llama with a tokenizer of letters."""
    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(tmp_path / "tiny")
    tiny_llama().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def texts(tmp_path):
    lines = [json.dumps({"text": f"Paragraph {n} is one of many paragraphs. " * 4}) for n in range(40)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    return "data=text_files", f"data.path={tmp_path / 'texts.jsonl'}", "calibration.length=32"


@pytest.mark.parametrize(
    ("pruner", "params"),
    [
        (("pruner=depth_perplexity", "pruner.num_removed=6"), 5_524_115_456),
        (("pruner=depth_taylor", "pruner.num_removed=15"), 3_702_665_216),
        (("pruner=wanda_sp", "pruner.num_removed=null", "pruner.ratio=0.2"), 5_470_294_016),
        (("pruner=wanda_sp", "pruner.ratio=0.2"), 5_470_294_016),
        (("pruner=llm_pruner", "pruner.num_removed=null", "pruner.ratio=0.25"), 5_422_977_024),
    ],
)
def test_a_dry_run_counts_the_published_students_of_llama_7b(command, pruner, params):
    """Kim et al. 2024; the width students by their heads and neurons: specification of Shortened LLaMA, 5.1."""
    summary = command(prune, "teacher=llama_7b", *pruner, "dry_run=true").summary
    assert (summary["params"], summary["parent_params"]) == (params, LLAMA_7B)
    assert summary["removed_ratio"] == 1 - params / LLAMA_7B


def test_a_dry_run_says_how_many_blocks_go_and_that_it_does_not_know_which(command):
    said = command(prune, "teacher=smollm2_135m", "pruner=depth_taylor", "pruner.ratio=0.2", "dry_run=true")
    assert said.summary["num_removed_blocks"] == 8
    assert "removed_blocks" not in said.summary
    assert "8 of 30 blocks; without weights it is not known which blocks go." in said.err[-1]


@pytest.mark.parametrize("pruner", ["depth_perplexity", "flap"])
def test_a_student_is_written_and_generates(command, tiny, texts, tmp_path, pruner):
    out = tmp_path / "student"
    arguments = (f"teacher={tiny}", f"pruner={pruner}", "pruner.num_removed=3", *texts, f"out={out}")
    summary = command(prune, *arguments).summary
    student = load_language_student(out).model
    assert summary["params"] == sum(parameter.numel() for parameter in student.parameters())
    written = command(generate, f"student={out}", "prompt=ab", "max_new_tokens=3", f"out={tmp_path / 'a.txt'}").summary
    assert (tmp_path / "a.txt").read_text() == f"ab{written['texts'][0]}\n"


def test_scores_from_a_file_need_no_texts(command, tiny, tmp_path):
    scores = {"criterion": "taylor", "scores": [float(place) for place in range(10)]}
    (tmp_path / "scores.json").write_text(json.dumps({"schema": 1, "criteria": {"taylor": scores}}))
    arguments = (f"scores={tmp_path}", f"out={tmp_path / 'student'}")
    found = command(prune, f"teacher={tiny}", "pruner=depth_taylor_plus", "pruner.num_removed=2", *arguments).summary
    assert found["removed_blocks"] == [4, 5]  # the lowest behind the four that are protected


def test_a_student_says_what_it_was_made_of_and_by_what(command, tiny, texts, tmp_path):
    out = tmp_path / "student"
    arguments = (f"teacher={tiny}", "pruner=depth_perplexity", "pruner.num_removed=3", *texts, f"out={out}")
    summary = command(prune, *arguments).summary
    facts, card = json.loads((out / "pruning.json").read_text()), (out / "README.md").read_text()
    assert (facts["parent"], facts["origin"], facts["parent_quantised"]) == (str(tiny), str(tiny), None)
    assert (facts["criterion"], facts["budget"]) == ("perplexity", {"num_removed": 3})
    assert facts["calibration"] == summary["calibration"] is not None
    assert f"made of `{tiny}`: parts of it were removed" in card
    assert "| criterion | perplexity, the first 4 blocks and the last 2 not among them |" in card
    assert f"| calibration set | `{facts['calibration']}` |" in card
    assert "| budget | num_removed=3 |" in card


def test_a_width_student_names_its_method(command, tiny, texts, tmp_path):
    arguments = (f"teacher={tiny}", "pruner=flap", "pruner.num_removed=3", *texts, f"out={tmp_path / 'student'}")
    assert command(prune, *arguments).summary["method"] == "Flap"
    assert "| method | Flap |" in (tmp_path / "student" / "README.md").read_text()


def test_a_student_of_a_student_names_the_first_parent_and_what_it_had_been_through(command, tiny, tmp_path):
    before = ("teacher._target_=ldc.models.language.LanguageTeacher", "+teacher.quantised=Q4_1")
    magnitude = ("pruner=depth_magnitude_plus", "pruner.num_removed=1")
    command(prune, f"teacher={tiny}", *before, *magnitude, f"out={tmp_path / 'one'}").summary  # noqa: B018
    second = command(prune, f"teacher={tmp_path / 'one'}", *magnitude, f"out={tmp_path / 'two'}").summary
    assert (second["parent"], second["origin"]) == (str(tmp_path / "one"), str(tiny))
    assert second["parent_quantised"] == "Q4_1"
    card = (tmp_path / "two" / "README.md").read_text()
    assert f"derived from `{tiny}`, whose licence" in card
    assert f"| parent | `{tmp_path / 'one'}` |" in card
    assert "| quantised before | Q4_1 |" in card


@pytest.mark.parametrize("dry_run", ["dry_run=false", "dry_run=true"])
def test_a_student_is_not_written_over_its_teacher(refused, tiny, dry_run):
    weights = (tiny / "model.safetensors").read_bytes()
    magnitude = ("pruner=depth_magnitude_plus", "pruner.num_removed=2", dry_run)
    said = refused(prune, f"teacher={tiny}", *magnitude, f"out={tiny}/../{tiny.name}")
    assert said.startswith("out must be another folder than the teacher's, not ")
    assert (tiny / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("name", ["", "scores.json"])
def test_a_student_is_not_written_over_the_scores_that_it_is_made_by(refused, tiny, tmp_path, name):
    scores = {"criterion": "taylor", "scores": [float(place) for place in range(10)]}
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "scores.json").write_text(json.dumps({"schema": 1, "criteria": {"taylor": scores}}))
    arguments = (f"scores={tmp_path / 'scores' / name}", f"out={tmp_path / 'scores'}")
    said = refused(prune, f"teacher={tiny}", "pruner=depth_taylor", "pruner.num_removed=2", *arguments)
    assert said.startswith("out must be another folder than the scores', not ")


def test_drawn_texts_are_those_of_their_seed_alone(command, tiny, tmp_path):
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    drawn = ("temperature=1", "top_p=0.9", "max_new_tokens=5", f"out={tmp_path / 'a.txt'}", f"student={tiny}")
    both = command(generate, f"prompts_file={tmp_path / 'prompts.txt'}", "seed=3", *drawn).summary["texts"]
    assert command(generate, "prompt=two", "seed=4", *drawn).summary["texts"] == both[1:]
    assert command(generate, "prompt=two", "seed=5", *drawn).summary["texts"] != both[1:]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["steps=4"], "steps must be left out with {tiny}, which is a language model, not 4."),
        (["guidance=2"], "guidance must be left out with {tiny}, which is a language model, not 2."),
        (["max_new_tokens=0"], "max_new_tokens must be a whole number from 1, not 0."),
        (["top_p=0.9"], "top_p must come with temperature, without which nothing is drawn, not 0.9 alone."),
        (["temperature=0"], "temperature must be a number above 0, not 0."),
        (["out=a.png"], "out must end in .txt for a language model, not 'a.png'."),
        (["max_new_tokens=5000"], "max_new_tokens must be at most 2048 less the prompt's 1 tokens"),
    ],
)
def test_what_a_language_model_has_no_use_for_is_refused(refused, tiny, arguments, sentence):
    assert sentence.format(tiny=tiny) in refused(generate, f"student={tiny}", "prompt=a", *arguments)


def test_settings_of_texts_are_refused_for_images(refused):
    said = refused(generate, "prompt=a", "temperature=1")
    assert said == "temperature must be left out with emoji_ldm, which is no language model, not 1."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pruner=depth_perplexity", "pruner.num_removed=5"], "num_removed must be at most 4, the number of blocks"),
        (["pruner=depth_perplexit"], "did you mean 'depth_perplexity'."),
        (["pruner=bksdm_tiny"], "pruner must be one of language models, not BlockRemoval"),
        (["pruner=flap", "data=emoji64_mini"], "data must be text for this"),
        (["pruner=depth_taylor", "pruner.num_removed=1", "scores=nowhere"], "scores must be a file of block scores"),
        (
            ["pruner=flap", "pruner.num_removed=3", "pruner.ratio=0.2"],
            "num_removed=3 and ratio=0.2: set the others",
        ),
        (["pruner=depth_taylor"], "the budget must be one of num_removed, ratio and params, not none."),
    ],
)
def test_what_cannot_be_pruned_is_refused(refused, tiny, arguments, sentence):
    assert sentence in refused(prune, f"teacher={tiny}", *arguments)


def test_a_diffusion_teacher_with_a_pruner_of_language_models_is_refused(refused):
    said = refused(prune, "pruner=depth_perplexity", "pruner.num_removed=1")
    assert said.startswith("teacher must be a language model here, not the latent diffusion model 'assets/emoji_ldm'")
