"""The stage on a tiny Llama of letters, a student that lost two of its four blocks, and a few lines of text."""

import json
import string
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ldc.artifacts import Artifact, publish
from ldc.evaluation.language import measure
from ldc.models.language import build_language_student, load_language_student, save_language_student
from ldc.runtime.chain import Context
from ldc.runtime.language_evaluation import held_out
from ldc.runtime.paths import CONF
from ldc.runtime.stages import EvaluateLanguage
from ldc.surgery import Keep, Plan

SENTENCES = [f"Sentence number {number} says that {number} and {number} are {2 * number}." for number in range(60)]


@pytest.fixture
def letters():
    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


@pytest.fixture
def teacher(tiny_llama, letters, tmp_path):
    tiny_llama(num_hidden_layers=4).save_pretrained(tmp_path / "teacher")
    letters.save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def student(teacher, tmp_path):
    parent = load_language_student(teacher)
    plan = Plan((Keep("model.layers", (0, 3)),))
    folder = save_language_student(
        tmp_path / "run" / "prune", build_language_student(parent.model, plan), plan, parent.tokenizer
    )
    return publish(Artifact(folder, "language_student", "0123456789abcdef"))


@pytest.fixture
def stage(teacher, tmp_path):
    """`stage(*overrides)`: the composed stage with settings `parent` and `two blocks`."""
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in SENTENCES))

    def build(*overrides):
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = compose(
                "train",
                overrides=[
                    "+stages@stages.evaluate=evaluate_language",
                    "data=text_files",
                    f"data.path={tmp_path / 'text.jsonl'}",
                    "data.held_out=0.5",
                    "teacher=custom_language",
                    f"teacher.path_or_id={teacher}",
                    "+stages.evaluate.settings={parent:{model:teacher},two blocks:{model:prune,method:PPL}}",
                    "stages.evaluate.quality.windows=3",
                    "stages.evaluate.max_new_tokens=4",
                    "stages.evaluate.prompts=[Sentence]",
                    "protocol.batch_sizes=[1,2]",
                    "protocol.new_tokens=[3]",
                    "protocol.runs=2",
                    f"paths.cache={tmp_path / 'cache'}",
                    *overrides,
                ],
            )
        OmegaConf.resolve(cfg)
        config = cfg.stages.evaluate
        return EvaluateLanguage(**{name: config[name] for name in config if name != "_target_"})

    return build


@pytest.fixture
def evaluated(stage, student, tmp_path):
    def run(*overrides):
        kind = stage(*overrides)
        kind.check(OmegaConf.create())
        folder = tmp_path / "run" / "evaluate"
        return kind.run(Context("evaluate", folder, OmegaConf.create(), {"prune": student})), folder

    return run


@pytest.mark.integration
def test_every_model_has_perplexity_size_and_speed_with_a_stamp(evaluated, student, stage):
    result, folder = evaluated()
    parent, pruned = result.metrics["table"]
    assert (parent["kind"], pruned["kind"]) == ("parent", "depth")
    assert pruned["reduction"] == pytest.approx(1 - pruned["params"] / parent["params"])
    texts = held_out(stage().data, None, None)["text_files"]
    model = load_language_student(student.folder)
    for suffix, bos in (("", "first"), (" (BOS each)", "every")):
        expected = measure(model.model, model.tokenizer, texts, bos=bos, most=3)
        assert pruned[f"ppl text_files{suffix}"] == pytest.approx(expected.value, rel=1e-5)
        assert pruned["stamp"]["ids"][f"ppl text_files{suffix}"] == expected.ids
    assert pruned["tokens/s M 2 L 3"] > 0
    assert {path.name for path in folder.iterdir()} >= {"table.json", "table.md", "table.png", "perplexity.png"}
    assert {path.name for path in folder.iterdir()} >= {"speed.png", "samples.txt"}


@pytest.mark.integration
def test_speeds_are_told_beside_the_parents_and_stamped_with_the_protocol(evaluated):
    _, folder = evaluated()
    speeds = json.loads((folder / "table.json").read_text())["speeds"]
    assert [(row["model"], row["batch_size"]) for row in speeds] == [
        ("parent", 1), ("two blocks", 1), ("parent", 2), ("two blocks", 2),
    ]  # fmt: skip
    assert speeds[0]["times parent"] == 1.0
    assert speeds[1]["times parent"] == pytest.approx(speeds[1]["tokens_per_second"] / speeds[0]["tokens_per_second"])
    assert speeds[0]["stamp"]["name"] == "cpu"
    assert speeds[0]["stamp"]["by_turns"]


@pytest.mark.integration
def test_an_interrupted_evaluation_goes_on_after_the_last_model(evaluated):
    first, folder = evaluated()
    (folder / "measured" / "two-blocks.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "measured").iterdir()}
    second, _ = evaluated()
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert (folder / "measured" / "two-blocks.json").is_file()
    before, after = ([row["ppl text_files"] for row in result.metrics["table"]] for result in (first, second))
    assert after == before


@pytest.mark.integration
def test_a_model_that_was_made_anew_is_measured_anew(evaluated, student):
    _, folder = evaluated()
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "measured").iterdir()}
    publish(student)
    evaluated()
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "measured").iterdir()}
    assert after["parent.json"] == before["parent.json"]
    assert after["two-blocks.json"] > before["two-blocks.json"]


@pytest.mark.integration
def test_without_timing_there_are_no_speeds_and_no_plot_of_them(evaluated):
    result, folder = evaluated("stages.evaluate.timed=[]", "protocol=paper")
    assert result.metrics["speeds"] == []
    assert not (folder / "speed.png").exists()


def test_the_published_protocol_is_refused_without_cuda_before_any_work(stage):
    with pytest.raises(ValueError, match="protocol=paper must run on a machine with a CUDA device"):
        stage("protocol=paper").check(OmegaConf.create())


def test_a_tokenizer_without_bos_is_refused_before_any_work_where_every_window_begins_with_it(stage, teacher, letters):
    letters.bos_token = None
    letters.save_pretrained(teacher)
    stage("stages.evaluate.quality.bos=[first]").check(OmegaConf.create())
    with pytest.raises(ValueError, match=r"quality.bos must be \[first\] for a tokenizer without a BOS token"):
        stage().check(OmegaConf.create())


def test_timed_settings_that_are_none_are_refused(stage):
    with pytest.raises(ValueError, match="timed must name settings"):
        stage("stages.evaluate.timed=[student]").check(OmegaConf.create())


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("stages.evaluate.texts=[bible]", r"texts must name held-out texts of the data \(text_files\), not 'bible'"),
        ("stages.evaluate.quality.questions=nowhere.jsonl", "questions must be a file of JSON lines"),
        ("data.held_out=0", "must have held-out documents, but it has none: raise held_out"),
    ],
)
def test_what_an_evaluation_cannot_read_is_refused_before_any_work(stage, argument, sentence):
    with pytest.raises(ValueError, match=sentence):
        stage(argument).check(OmegaConf.create())


def test_data_of_images_is_refused(stage):
    with pytest.raises(ValueError, match="data must be text for this"):
        replace(stage(), data=OmegaConf.load(CONF / "data" / "emoji64_mini.yaml")).check(OmegaConf.create())
