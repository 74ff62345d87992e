import logging

import pytest
import torch

from ldc.families.llama import blocks
from ldc.pruning import DepthPruning
from ldc.pruning.depth import BlockScores, score_blocks
from ldc.surgery import Keep, Plan


def kept(*indices):
    return Plan([Keep("model.layers", indices)])


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("magnitude", kept(0, 1, 2, 3, 7, 8, 9)),
        ("taylor", kept(0, 1, 2, 3, 4, 8, 9)),
        ("perplexity", kept(0, 1, 2, 3, 7, 8, 9)),
    ],
)
def test_the_plan_is_that_of_the_official_scripts(tiny_llama, published, criterion, expected):
    assert DepthPruning(criterion, num_removed=3).plan(tiny_llama(), published) == expected


def test_without_protection_any_block_may_go(tiny_llama, published):
    pruner = DepthPruning("magnitude", num_removed=3, protect_first=0, protect_last=0)
    assert pruner.plan(tiny_llama(), published) == kept(1, 2, 4, 5, 7, 8, 9)


def test_magnitude_needs_no_calibration(tiny_llama):
    assert not DepthPruning("magnitude", num_removed=1).needs_data
    assert DepthPruning("magnitude", num_removed=1).plan(tiny_llama()) == kept(0, 1, 2, 3, 4, 5, 7, 8, 9)


def test_given_scores_are_not_computed_again():
    with torch.device("meta"):
        model = _llama(10)
    scores = BlockScores("taylor", (9, 9, 9, 9, 5, 3, 4, 1, 9, 9), settings=DEFAULTS)
    assert DepthPruning("taylor", num_removed=2).plan(model, scores=scores) == kept(0, 1, 2, 3, 4, 6, 8, 9)


def test_scoring_shows_what_is_scored_and_how_far_it_is(tiny_llama, published, capsys):
    DepthPruning("perplexity", num_removed=1).plan(tiny_llama(), published, progress=True)
    assert "perplexity: 100%" in capsys.readouterr().err


def test_every_removal_of_an_iterative_pruner_shows_how_far_it_is(tiny_llama, published, capsys):
    DepthPruning("perplexity", num_removed=2, iterative=True).plan(tiny_llama(), published, progress=True)
    shown = capsys.readouterr().err
    assert "perplexity, removal 1: 100%" in shown
    assert "perplexity, removal 2: 100%" in shown


DEFAULTS = {
    "batch_size": 10,
    "blocks_at_a_time": None,
    "linear_only": False,
    "weight_reduction": "sum",
    "block_reduction": "sum",
}


def _llama(num_blocks):
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - costs seconds

    sizes = {"hidden_size": 64, "intermediate_size": 172, "num_attention_heads": 4, "vocab_size": 256}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=num_blocks))


def test_scores_of_other_settings_count_and_it_is_said(tiny_llama, caplog):
    model = tiny_llama()
    scores = score_blocks(model, None, "magnitude", norm_power=2)
    with caplog.at_level(logging.WARNING):
        DepthPruning("magnitude", num_removed=1).plan(model, scores=scores)
    assert "'norm_power': 2" in caplog.text


def test_what_goes_and_the_true_ratio_are_said(tiny_llama, caplog):
    with caplog.at_level(logging.INFO):
        DepthPruning("magnitude", num_removed=3).plan(tiny_llama())
    assert "3 of 10 blocks go, in this order: 6, 5, 4; 379,584 of 528,192 parameters stay, 28.14 % go" in caplog.text


@pytest.mark.parametrize(("budget", "number"), [({"ratio": 0.2}, 3), ({"params": 430_000}, 2), ({"num_removed": 4}, 4)])
def test_how_many_go_is_known_on_the_meta_device(budget, number):
    with torch.device("meta"):
        model = _llama(10)
    assert DepthPruning("perplexity", **budget).check(model) == number


def test_more_blocks_than_candidates_are_refused_before_anything_is_scored():
    with torch.device("meta"):
        model = _llama(10)
    pruner = DepthPruning("perplexity", num_removed=6)
    for refused in (pruner.check, pruner.plan):
        with pytest.raises(ValueError, match="num_removed must be at most 4, the number of blocks of the model's 10"):
            refused(model)


def test_one_by_one_scores_what_is_left_again(tiny_llama, published):
    model = tiny_llama()
    plan = DepthPruning("perplexity", num_removed=3, iterative=True).plan(model, published)
    removed = []
    for _ in range(3):
        scores = _by_rebuilding(model, published, removed)
        removed.append(min(scores, key=scores.__getitem__))
    assert plan == kept(*(place for place in range(10) if place not in removed))


def _by_rebuilding(model, published, removed):
    """Perplexities without `removed` and one more, by blocks that are taken out of the list."""
    own, found = list(blocks(model)), {}
    for place in range(4, 8):
        if place in removed:
            continue
        model.model.layers = torch.nn.ModuleList(b for i, b in enumerate(own) if i not in {*removed, place})
        with torch.no_grad():
            found[place] = model(input_ids=published.ids, labels=published.ids, use_cache=False).loss.exp().item()
    model.model.layers = torch.nn.ModuleList(own)
    return found


@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
def test_one_by_one_goes_by_every_criterion(tiny_llama, published, criterion):
    plan = DepthPruning(criterion, num_removed=1, iterative=True).plan(tiny_llama(), published)
    assert plan == DepthPruning(criterion, num_removed=1).plan(tiny_llama(), published)


def test_one_by_one_ends_where_a_budget_of_parameters_is_met(tiny_llama, published):
    plan = DepthPruning("perplexity", params=430_000, iterative=True).plan(tiny_llama(), published)
    assert len(plan.edits[0].indices) == 8


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (BlockScores("taylor", (1.0,) * 10), "scores must be of the pruner's criterion magnitude, not of 'taylor'"),
        (BlockScores("magnitude", (1.0,) * 9), "scores must be of a model of 10 blocks, not of 9"),
    ],
)
def test_scores_of_something_else_are_refused(tiny_llama, scores, sentence):
    with pytest.raises(ValueError, match=sentence):
        DepthPruning("magnitude", num_removed=1).plan(tiny_llama(), scores=scores)


def test_scores_are_of_no_use_one_by_one(tiny_llama):
    scores = score_blocks(tiny_llama(), None, "magnitude")
    with pytest.raises(ValueError, match="scores must be null where the pruner is iterative"):
        DepthPruning("magnitude", num_removed=1, iterative=True).plan(tiny_llama(), scores=scores)


def test_an_encoder_is_refused():
    from transformers import BertConfig, BertModel  # noqa: PLC0415 - costs seconds

    with torch.device("meta"):
        encoder = BertModel(BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=8))
    with pytest.raises(ValueError, match="decoder-only language model, such as LlamaForCausalLM, not BertModel"):
        DepthPruning("magnitude", num_removed=1).plan(encoder)


def test_a_half_precision_model_loses_the_blocks_that_its_float32_copy_loses(tiny_llama, published):
    half = tiny_llama().bfloat16()
    pruner = DepthPruning("taylor", num_removed=3)
    plans = [pruner.plan(half, published), pruner.plan(half.float(), published)]
    assert plans[0] == plans[1] == kept(0, 1, 2, 3, 4, 8, 9)
