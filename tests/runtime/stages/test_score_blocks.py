"""The stage on a tiny Llama of letters and a few lines of text, in one process and in two."""

import json
import string

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ldc import train
from ldc.artifacts import find
from ldc.pruning.depth import load_scores
from tests.training.strategies.conftest import torchrun

pytestmark = pytest.mark.integration

LINES = [
    f"Line {number} says that {number} and {number} are {2 * number}, and not {3 * number}." for number in range(40)
]


@pytest.fixture
def scored(configured, tiny_llama, tmp_path):
    """`scored(*overrides)`: the composed run of a stage `scores` on the tiny Llama, and perhaps of more stages."""
    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    tiny_llama().save_pretrained(tmp_path / "teacher")
    PreTrainedTokenizerFast(tokenizer_object=letters, **special).save_pretrained(tmp_path / "teacher")
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in LINES))

    def build(*overrides):
        return configured(
            "name=tiny",
            "run=one",
            "data=text_files",
            f"data.path={tmp_path / 'text.jsonl'}",
            "teacher=custom_language",
            f"teacher.path_or_id={tmp_path / 'teacher'}",
            "+stages@stages.scores=score_blocks",
            "stages.scores.calibration.length=32",
            *overrides,
        )

    return build


def test_all_criteria_are_scored_on_one_calibration_set_saved_and_drawn(scored, tmp_path):
    train.main.task(scored())
    artifact = find(tmp_path / "outputs" / "tiny" / "one" / "scores")
    scores = load_scores(artifact.folder)
    assert list(scores) == ["magnitude", "taylor", "perplexity"]
    assert artifact.kind == "block_scores"
    assert scores["taylor"].calibration == scores["perplexity"].calibration == artifact.metrics["calibration"]
    assert artifact.metrics["orders"] == {name: list(each.order()) for name, each in scores.items()}
    assert artifact.metrics["perplexity/base"] == scores["perplexity"].base
    assert {path.name for path in artifact.folder.iterdir()} >= {"scores.csv", "scores.png", "taylor"}


def test_a_pruner_takes_its_scores_from_the_stage(scored, tmp_path):
    prunes = [
        (f"+stages@stages.{name}=prune_language", f"stages.{name}.scores={scores}")
        for name, scores in (("with", "scores"), ("without", "null"))
    ]
    settings = [f"stages.{name}.calibration.length=32" for name in ("with", "without")]
    pruner = ["pruner=depth_perplexity", "pruner.num_removed=2"]
    train.main.task(scored(*pruner, *prunes[0], *prunes[1], *settings))
    made = {name: find(tmp_path / "outputs" / "tiny" / "one" / name) for name in ("scores", "with", "without")}
    assert made["with"].plan_fingerprint == made["without"].plan_fingerprint
    assert made["scores"].id in made["with"].parents


def test_two_ranks_share_the_work_twice_and_leave_no_group(scored, tmp_path):
    again = [
        "+stages@stages.again=score_blocks",
        "stages.again.calibration.length=32",
        "stages.again.calibration.seed=5",
    ]

    def work(rank):
        from torch import distributed  # noqa: PLC0415 - in the rank's process

        train.main.task(scored("run=two", *again))
        return distributed.is_initialized()

    train.main.task(scored(*again))
    assert torchrun(work, 2, tmp_path) == [False, False]
    for stage in ("scores", "again"):
        alone, shared = (find(tmp_path / "outputs" / "tiny" / run / stage) for run in ("one", "two"))
        assert (alone.metrics["ranks"], shared.metrics["ranks"]) == (1, 2)
        assert load_scores(alone.folder) == load_scores(shared.folder)
        assert alone.id == shared.id


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("stages.scores.criteria.taylor.weight_reduction=median", "weight_reduction must be sum, mean, max or prod"),
        ("+stages.scores.criteria.fisher={}", "criterion must be one of magnitude, taylor, perplexity, not 'fisher'"),
        ("stages.scores.protect.first=-1", "protect_first must be a whole number from 0, not -1"),
        ("stages.scores.calibration.length=1", "length must be a whole number from 2, not 1"),
        ("teacher.weights=random", "criteria must be magnitude alone for a random teacher"),
        ("stages.scores.calibration.length=500", "documents with 500 tokens or more"),
    ],
)
def test_settings_and_texts_that_do_not_suffice_are_refused(scored, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        train.main.task(scored(setting))
