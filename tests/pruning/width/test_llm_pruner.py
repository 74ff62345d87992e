import pytest
import torch

from ldc.data.text import Calibration
from ldc.families.llama import BLOCKS, blocks
from ldc.models.language import LanguageTeacher, build_language_student, meta_language_model
from ldc.profiling import params
from ldc.pruning.width import LlmPruner, WidthScores


def gradients(model, ids):
    """The model's own loss on all samples at once, and autograd into `.grad`."""
    model(ids, labels=ids).loss.backward()
    return model


@pytest.mark.parametrize("heads", [4, 2])
def test_scores_are_the_products_with_the_gradient_summed_over_what_goes_together(tiny_llama, tokens, heads):
    scores = LlmPruner(ratio=0.25).score(tiny_llama(num_key_value_heads=heads), tokens.ids)
    model = gradients(tiny_llama(num_key_value_heads=heads), tokens.ids)
    block = blocks(model)[3]
    attention, mlp = block.self_attn, block.mlp
    product = {name: (p * p.grad).abs() for name, p in block.named_parameters()}
    shared = 4 // heads
    for group in range(heads):
        own = slice(group * 16, group * 16 + 16)
        queries = slice(group * shared * 16, (group + 1) * shared * 16)
        expected = (
            product["self_attn.q_proj.weight"][queries].sum()
            + product["self_attn.k_proj.weight"][own].sum()
            + product["self_attn.v_proj.weight"][own].sum()
            + product["self_attn.o_proj.weight"][:, queries].sum()
        )
        torch.testing.assert_close(scores.groups[3][group], expected, rtol=1e-4, atol=0)
    assert (attention.k_proj.out_features, mlp.gate_proj.out_features) == (heads * 16, 172)
    neurons = torch.stack(
        [
            product["mlp.gate_proj.weight"][n].sum()
            + product["mlp.up_proj.weight"][n].sum()
            + product["mlp.down_proj.weight"][:, n].sum()
            for n in range(172)
        ]
    )
    torch.testing.assert_close(scores.neurons[3], neurons, rtol=1e-4, atol=0)


def test_scores_do_not_depend_on_the_batch_size(tiny_llama, tokens):
    model = tiny_llama()
    one, four, all_at_once = (LlmPruner(ratio=0.25, batch_size=size).score(model, tokens.ids) for size in (1, 4, 6))
    for other in (four, all_at_once):
        torch.testing.assert_close(other.neurons[5], one.neurons[5], rtol=1e-4, atol=0)
        torch.testing.assert_close(other.groups[5], one.groups[5], rtol=1e-4, atol=0)


def test_scoring_leaves_no_gradient_and_no_change(tiny_llama, tokens):
    model = tiny_llama().requires_grad_(requires_grad=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        LlmPruner(ratio=0.5).plan(model, tokens)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_half_precision_model_is_scored_in_float32(tiny_llama, tokens):
    half = tiny_llama().half()
    found = LlmPruner(ratio=0.25).score(half, tokens.ids)
    whole = LlmPruner(ratio=0.25).score(tiny_llama().half().float(), tokens.ids)
    assert torch.equal(found.neurons[2], whole.neurons[2])
    assert half.dtype == torch.float16


@pytest.mark.parametrize(
    ("ratio", "heads", "neurons", "total"),
    [(0.25, 24, 8256, 5_422_977_024), (0.35, 21, 7155, 4_907_642_880), (0.45, 18, 6054, 4_392_308_736)],
)
def test_a_ratio_leaves_the_published_widths_of_layers_4_to_29_of_llama_7b(ratio, heads, neurons, total):
    model = meta_language_model(LanguageTeacher("", weights="random", architecture="llama_7b"))
    pruner = LlmPruner(ratio=ratio)
    result = pruner.plan(model, scores=WidthScores([torch.arange(32.0)] * 32, [torch.arange(11008.0)] * 32))
    assert result.counts["heads"] == [32] * 4 + [heads] * 26 + [32] * 2
    assert result.counts["neurons"] == [11008] * 4 + [neurons] * 26 + [11008] * 2
    assert result.counts["params"] == pruner.check(model) == total
    assert params(build_language_student(model, result.plan)) == total


def test_the_lowest_of_each_inner_block_go_and_protected_blocks_keep_all(tiny_llama, tokens):
    model = tiny_llama(num_key_value_heads=2)
    pruner = LlmPruner(ratio=0.5, protect_first=2, protect_last=3)
    scores, plan = pruner.score(model, tokens.ids), pruner.plan(model, tokens).plan
    edits = {edit.path: edit for edit in plan.edits}
    assert {int(path.split(".")[2]) for path in edits} == {2, 3, 4, 5, 6}
    for index in range(2, 7):
        lowest = set(scores.neurons[index].argsort()[:86].tolist())
        assert lowest.isdisjoint(edits[f"{BLOCKS}.{index}.mlp.up_proj"].outputs)
        group = int(scores.groups[index].argmax())
        assert edits[f"{BLOCKS}.{index}.self_attn.k_proj"].outputs == tuple(range(group * 16, group * 16 + 16))


@pytest.mark.parametrize("number", [1, 2, 4])
def test_parameters_of_removed_blocks_are_met_by_the_inner_blocks(tiny_llama, tokens, number):
    model = tiny_llama()
    result = LlmPruner(num_removed=number, protect_first=2, protect_last=1).plan(model, tokens)
    wanted = params(model) - number * params(blocks(model)[0])
    assert params(build_language_student(model, result.plan)) == result.counts["params"]
    assert abs(result.counts["params"] - wanted) <= 3 * 64 / 2


def test_more_parameters_than_the_inner_blocks_have_are_refused(tiny_llama):
    with pytest.raises(ValueError, match=r"widths of 4 blocks must give at most .* parameters, not"):
        LlmPruner(num_removed=4).check(tiny_llama())


def test_no_block_between_the_protected_ones_is_refused(tiny_llama):
    with pytest.raises(ValueError, match="protected blocks must be fewer than the model's 6, not 6"):
        LlmPruner(ratio=0.5).check(tiny_llama(num_hidden_layers=6))


def test_a_loss_that_is_not_finite_is_refused(tiny_llama, tokens):
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("inf"))
    with pytest.raises(ValueError, match="loss on the calibration set must be finite, not nan"):
        LlmPruner(ratio=0.5).plan(model, tokens)


def test_samples_of_one_token_are_refused(tiny_llama):
    with pytest.raises(ValueError, match="calibration must hold one sequence of two"):
        LlmPruner(ratio=0.5).plan(tiny_llama(), Calibration(torch.full((4, 1), 7), ""))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.2, "protect_first": -1}, "must not be negative, not -1, 2"),
        ({"ratio": 0.2, "batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({}, "the budget must be one of num_removed, ratio and params, not none"),
        ({"ratio": 0.2, "params": 5}, "must be one of num_removed, ratio and params"),
    ],
)
def test_settings_out_of_their_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LlmPruner(**settings)


@pytest.mark.parametrize("budget", [{"ratio": 0.5}, {"num_removed": 2}])
def test_heads_stay_where_they_are_not_to_be_cut(tiny_llama, tokens, budget):
    counts = LlmPruner(**budget, cut_heads=False).plan(tiny_llama(), tokens).counts
    assert set(counts["heads"]) == {4}
    assert min(counts["neurons"]) < 172
