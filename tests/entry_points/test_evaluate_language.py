import json
import shutil
import string
from pathlib import Path

import pytest

from ldc.evaluate import main

TINY = ("quality.windows=2", "quality.num_questions=3", "max_new_tokens=3", "prompts=[a b]")


@pytest.fixture
def llama(tiny_llama, tmp_path):
    """A folder of a tiny Llama that reads words by their letters, and a text for it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers  # noqa: PLC0415 - costs seconds
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tiny_llama(num_hidden_layers=2).save_pretrained(tmp_path / "llama")
    wrapped.save_pretrained(tmp_path / "llama")
    (tmp_path / "text.txt").write_text("\n\n".join(f"Paragraph {number}. " * 40 for number in range(40)))
    return tmp_path / "llama"


@pytest.fixture
def arguments(llama, tmp_path):
    data = ("data=text_files", f"data.path={tmp_path / 'text.txt'}", "data.held_out=0.5", "data.chars_per_document=800")
    return (f"student={llama}", *data, *TINY, f"paths.outputs={tmp_path}", f"paths.cache={tmp_path / 'cache'}")


@pytest.mark.integration
def test_a_language_model_has_perplexities_accuracy_and_speed(command, arguments, tmp_path):
    protocol = ("protocol.batch_sizes=[1]", "protocol.new_tokens=[2]", "protocol.runs=2")
    summary = command(main, *arguments, *protocol).summary
    assert summary["metrics"].keys() >= {"ppl text_files", "ppl text_files (BOS each)", "acc", "acc_norm", "params"}
    assert summary["stamp"]["ids"].keys() == {"ppl text_files", "ppl text_files (BOS each)", "questions"}
    assert summary["speeds"][0]["tokens_per_second"] > 0
    written = json.loads((tmp_path / "evaluate" / "llama" / "metrics.json").read_text())
    assert written["metrics"] == summary["metrics"]
    assert (tmp_path / "evaluate" / "llama" / "samples.txt").read_text().startswith("a b\n[")


@pytest.mark.integration
def test_a_measurement_is_compared_with_one_on_the_same_ids_alone(command, refused, arguments, tmp_path):
    command(main, *arguments, "timed=false")
    compare = f"compare={tmp_path / 'evaluate' / 'llama' / 'metrics.json'}"
    said = command(main, *arguments, "timed=false", compare)
    assert said.summary["difference"]["ppl text_files"] == 0
    assert not {"acc low", "acc high", "chance"} & said.summary["difference"].keys()
    assert any(line.endswith("| this minus that |") for line in said.err)
    said = refused(main, *arguments, "timed=false", compare, "quality.num_questions=2")
    assert said.startswith("compare must be a measurement on the same token ids")
    assert said.endswith("has others for 'questions'.")
    assert refused(main, *arguments, "timed=false", compare, "quality.num_questions=0").endswith(
        "some for 'questions'."
    )


@pytest.mark.integration
def test_a_comparison_over_other_windows_is_refused_before_a_pass(refused, command, arguments, tmp_path, monkeypatch):
    command(main, *arguments, "timed=false")
    compare = f"compare={tmp_path / 'evaluate' / 'llama' / 'metrics.json'}"
    from transformers import LlamaForCausalLM  # noqa: PLC0415 - costs seconds

    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *_, **__: pytest.fail("a pass was made"))
    said = refused(main, *arguments, "timed=false", compare, "quality.window=9")
    assert said.endswith("metrics.json' has others for 'ppl text_files'.")


@pytest.mark.integration
def test_stages_of_one_name_in_two_runs_keep_their_own_figures(command, arguments, llama, tmp_path):
    for run in ("lora", "severe"):
        shutil.copytree(llama, tmp_path / run / "tiny" / "prune")
        student = f"student={tmp_path / run / 'tiny' / 'prune'}"
        said = command(main, *arguments[1:], student, "timed=false")
        assert said.summary["out"] == str(tmp_path / "evaluate" / run / "tiny" / "prune")
        assert f"Figures: {said.summary['out']}" in said.err
    written = [json.loads(path.read_text()) for path in sorted((tmp_path / "evaluate").rglob("metrics.json"))]
    assert [Path(one["student"]).parts[-3] for one in written] == ["lora", "severe"]


def test_settings_of_images_are_refused_for_a_language_model(refused, arguments):
    assert refused(main, *arguments, "steps=4").startswith("steps must be left out with")


def test_data_of_images_are_refused_for_a_language_model(refused, llama):
    said = refused(main, f"student={llama}", "data=emoji64")
    assert said.startswith("data must be text for this")


def test_a_dry_run_measures_nothing(command, arguments, tmp_path):
    summary = command(main, *arguments, "dry_run=true").summary
    assert summary["quality"]["bos"] == ["first", "every"]
    assert not (tmp_path / "evaluate").exists()
