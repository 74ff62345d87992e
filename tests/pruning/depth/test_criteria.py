"""Scores are those of the official scripts, and keep what they promise."""

import copy
import logging

import pytest
import torch

from ldc.data.text import Calibration
from ldc.families.llama import blocks, settle
from ldc.pruning.depth import Magnitude, Perplexity, Taylor, build_criterion, depth_plan, score_blocks, select
from ldc.pruning.depth.reductions import reduce_block, reduce_weight
from ldc.surgery import apply

NAMES = {"magnitude": "mag", "taylor": "taylor", "perplexity": "ppl"}
ORDERS = {
    "magnitude": (0, 3, 6, 9, 2, 5, 8, 1, 4, 7),
    "taylor": (0, 3, 6, 9, 2, 5, 8, 1, 7, 4),
    "perplexity": (4, 2, 3, 8, 9, 5, 1, 0, 6, 7),
}
REMOVED = {"magnitude": (6, 5, 4), "taylor": (6, 5, 7), "perplexity": (4, 5, 6)}
RELATIVES = {
    "GemmaConfig": {"head_dim": 16},
    "Gemma2Config": {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0},
    "Gemma3TextConfig": {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16},
    "MistralConfig": {"sliding_window": 5},
    "Qwen2Config": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    "Qwen3Config": {"head_dim": 16},
}


@pytest.fixture(params=[4, 2], ids=["kv4", "kv2"])
def key_value_heads(request):
    return request.param


@pytest.fixture
def relative():
    """`relative("Gemma2Config")`: a causal model of 6 blocks of that kind."""
    import transformers  # noqa: PLC0415 - costs seconds

    def build(name):
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4}
        config = getattr(transformers, name)(
            **sizes, num_key_value_heads=2, vocab_size=256, pad_token_id=0, **RELATIVES[name]
        )
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval()

    return build


@pytest.mark.parametrize("criterion", NAMES)
def test_scores_are_those_of_the_official_scripts(tiny_llama, published, golden, criterion, key_value_heads):
    expected = golden["golden"][f"kv{key_value_heads}"]
    found = score_blocks(tiny_llama(num_key_value_heads=key_value_heads), published, criterion)
    assert found.scores == pytest.approx(expected[NAMES[criterion]], rel=1e-5)
    assert found.order() == tuple(sorted(range(10), key=expected[NAMES[criterion]].__getitem__))
    if criterion == "perplexity":
        assert found.base == pytest.approx(expected["base_ppl"], rel=1e-5)


@pytest.mark.parametrize("criterion", NAMES)
def test_orders_and_removed_sets_are_those_of_the_official_scripts(tiny_llama, published, criterion):
    order = score_blocks(tiny_llama(), published, criterion).order()
    assert order == ORDERS[criterion]
    assert select(order, 10, count=3) == REMOVED[criterion]


def test_taylor_by_single_sequences_is_ten_times_that_of_one_batch_of_ten(tiny_llama, published):
    model = tiny_llama()
    one, ten = (score_blocks(model, published, "taylor", batch_size=size).scores for size in (1, 10))
    assert [score / 10 for score in one] == pytest.approx(ten, rel=1e-5)


def test_perplexity_does_not_depend_on_the_batches(tiny_llama, published):
    model = tiny_llama()
    some, all_at_once = (score_blocks(model, published, "perplexity", batch_size=size) for size in (3, 10))
    assert some.scores == pytest.approx(all_at_once.scores, rel=1e-6)
    assert some.base == pytest.approx(all_at_once.base, rel=1e-6)


def test_taylor_by_groups_of_blocks_is_that_of_all_at_once(tiny_llama, published):
    model = tiny_llama()
    some, all_at_once = (score_blocks(model, published, "taylor", blocks_at_a_time=size) for size in (3, None))
    assert some.scores == all_at_once.scores


def test_taylor_of_linear_weights_alone_is_lower_where_norms_count(tiny_llama, published):
    model = tiny_llama()
    whole, linear = (score_blocks(model, published, "taylor", linear_only=flag).scores for flag in (False, True))
    shares = [part / score for part, score in zip(linear, whole, strict=True)]
    assert all(0.8 < share < 0.99 for share in shares)


def test_magnitude_of_power_two_sums_squares(tiny_llama):
    model = tiny_llama()
    found = score_blocks(model, None, "magnitude", norm_power=2)
    squares = sum(parameter.double().pow(2).sum().item() for parameter in blocks(model)[3].parameters())
    assert found.scores[3] == pytest.approx(squares, rel=1e-6)


@pytest.mark.parametrize(("reduction", "expected"), [("sum", 21.0), ("mean", 10.5), ("max", 15.0), ("prod", 90.0)])
def test_a_weight_is_reduced_over_the_sums_of_its_rows(reduction, expected):
    assert reduce_weight(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), reduction) == expected


@pytest.mark.parametrize(("reduction", "expected"), [("sum", 9.0), ("mean", 3.0), ("max", 4.0), ("prod", 24.0)])
def test_a_block_is_reduced_over_its_weights(reduction, expected):
    assert reduce_block([2.0, 3.0, 4.0], reduction) == expected


def test_biases_do_not_count(tiny_llama):
    with_bias = tiny_llama(attention_bias=True, mlp_bias=True)
    assert score_blocks(with_bias, None, "magnitude").scores == score_blocks(tiny_llama(), None, "magnitude").scores


def test_reused_prefixes_give_the_scores_of_whole_passes(tiny_llama, published):
    model = tiny_llama()
    reused, whole = (score_blocks(model, published, "perplexity", reuse_prefix=flag) for flag in (True, False))
    assert reused.scores == whole.scores
    assert reused.base == whole.base


@pytest.mark.parametrize("name", RELATIVES)
def test_reused_prefixes_give_the_scores_of_whole_passes_of_llamas_relatives(relative, published, name):
    model = relative(name)
    reused, whole = (score_blocks(model, published, "perplexity", reuse_prefix=flag) for flag in (True, False))
    assert reused.scores == whole.scores
    with torch.no_grad():
        loss = model(input_ids=published.ids, labels=published.ids).loss
    assert reused.base == pytest.approx(loss.exp().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["LlamaConfig", *RELATIVES])
def test_perplexity_by_skipping_is_that_of_the_rebuilt_model(tiny_llama, relative, published, name):
    model = tiny_llama() if name == "LlamaConfig" else relative(name)
    number = len(blocks(model))
    for place, score in enumerate(score_blocks(model, published, "perplexity").scores[:4]):
        rebuilt = apply(copy.deepcopy(model), depth_plan(number, [place]), settle)
        with torch.no_grad():
            loss = rebuilt(input_ids=published.ids, labels=published.ids).loss
        assert score == pytest.approx(loss.exp().item(), rel=1e-5)


def test_a_block_that_adds_nothing_has_the_perplexity_of_the_whole_model(tiny_llama, published):
    model = tiny_llama()
    with torch.no_grad():
        blocks(model)[5].self_attn.o_proj.weight.zero_()
        blocks(model)[5].mlp.down_proj.weight.zero_()
    found = score_blocks(model, published, "perplexity")
    assert found.scores[5] == found.base


@pytest.mark.parametrize("criterion", NAMES)
def test_the_model_is_as_before(tiny_llama, published, criterion):
    model = tiny_llama().requires_grad_(requires_grad=False).train()
    before, own = {name: tensor.clone() for name, tensor in model.state_dict().items()}, blocks(model)
    score_blocks(model, published, criterion)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert blocks(model) is own
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


def test_after_an_error_scores_are_those_of_a_model_that_had_none(tiny_llama, published):
    model = tiny_llama()

    def fail(*_):
        raise MemoryError

    failing = model.lm_head.register_forward_hook(fail)
    with pytest.raises(MemoryError):
        score_blocks(model, published, "taylor")
    failing.remove()
    assert score_blocks(model, published, "taylor") == score_blocks(tiny_llama(), published, "taylor")


def test_a_bfloat16_model_is_scored_by_taylor_in_float32_and_it_is_said(tiny_llama, published, caplog):
    half = tiny_llama().bfloat16()
    with caplog.at_level(logging.INFO):
        found = score_blocks(half, published, "taylor")
    assert "Taylor scores it in float32" in caplog.text
    assert all(parameter.dtype == torch.bfloat16 for parameter in half.parameters())
    assert found.scores == score_blocks(half.float(), published, "taylor").scores


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_magnitude_of_a_half_precision_model_is_summed_in_more(tiny_llama, dtype):
    half = tiny_llama().to(dtype)
    found = score_blocks(half, None, "magnitude").scores
    assert found == pytest.approx(score_blocks(half.float(), None, "magnitude").scores, rel=1e-9)


@pytest.mark.parametrize("shape", [(0, 32), (10, 1), (10, 0)])
@pytest.mark.parametrize("criterion", ["taylor", "perplexity"])
def test_an_empty_or_too_short_calibration_is_refused(tiny_llama, criterion, shape):
    with pytest.raises(ValueError, match="calibration must hold one sequence of two int64 tokens at least, not"):
        score_blocks(tiny_llama(), Calibration(torch.ones(shape, dtype=torch.int64), "none"), criterion)


def test_no_calibration_is_refused_where_one_is_needed(tiny_llama):
    with pytest.raises(ValueError, match="calibration must be given for the criterion taylor, not none"):
        score_blocks(tiny_llama(), None, "taylor")


def test_tokens_of_another_tokenizer_are_refused(tiny_llama):
    with pytest.raises(ValueError, match=r"calibration tokens must be in \[0, 256\).*not in \[256, 256\]"):
        score_blocks(tiny_llama(), Calibration(torch.full((1, 4), 256), ""), "perplexity")


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        (Magnitude, {"norm_power": 3}, "norm_power must be 1 or 2, not 3"),
        (Magnitude, {"weight_reduction": "median"}, "weight_reduction must be sum, mean, max or prod, not 'median'"),
        (Taylor, {"block_reduction": "first"}, "block_reduction must be sum, mean, max or prod, not 'first'"),
        (Taylor, {"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        (Taylor, {"blocks_at_a_time": 0}, "blocks_at_a_time must be a whole number from 1, not 0"),
        (Perplexity, {"batch_size": 1.5}, "batch_size must be a whole number from 1, not 1.5"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**settings)


def test_an_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="criterion must be one of magnitude, taylor, perplexity, not 'fisher'"):
        build_criterion("fisher")


def test_a_setting_of_another_criterion_is_refused():
    with pytest.raises(ValueError, match="perplexity must be of batch_size, reuse_prefix, not 'norm_power'"):
        build_criterion("perplexity", {"norm_power": 1})


def test_a_product_that_no_number_holds_is_refused(tiny_llama):
    model = tiny_llama()
    with torch.no_grad():
        model.get_submodule("model.layers.2.mlp.down_proj").weight.mul_(1e6)
    with pytest.raises(ValueError, match="magnitude score of block 2 must be finite, not inf"):
        score_blocks(model, None, "magnitude", weight_reduction="prod")


@pytest.mark.parametrize(
    ("criterion", "settings"),
    [
        ("magnitude", {}),
        ("taylor", {"batch_size": 4, "blocks_at_a_time": 3}),
        ("perplexity", {"batch_size": 4}),
        ("perplexity", {"batch_size": 4, "reuse_prefix": False}),
    ],
)
def test_the_work_that_is_told_of_is_all_of_it(tiny_llama, published, criterion, settings):
    chosen, model, told = build_criterion(criterion, settings), tiny_llama(), []
    chosen.score(model, published.ids, range(10), (), told.append)
    assert sum(told) == chosen.work(model, published.ids, range(10))
    assert len(told) > 3
