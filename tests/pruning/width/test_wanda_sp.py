import pytest
import torch

from ldc.data.text import Calibration
from ldc.families.llama import BLOCKS, blocks
from ldc.models.language import LanguageTeacher, build_language_student, meta_language_model
from ldc.profiling import params
from ldc.pruning.width import WandaSp, WidthScores
from ldc.pruning.width.sizes import Removed
from ldc.pruning.width.wanda_sp import mean_square_norms, score_in_order
from ldc.surgery import Plan

ONE = Removed([1] * 10, [60] * 10)


def plain_metric(linear, inputs):
    """Sun et al.'s metric, channel by channel: mean_i |W_ij| * sqrt(mean_s sum_l x_slj^2)."""
    samples = inputs.double()
    norms = [
        sum(torch.linalg.vector_norm(x[:, c]) ** 2 for x in samples) / len(samples) for c in range(samples.shape[2])
    ]
    weight = linear.weight.double()
    return torch.stack([weight[:, c].abs().mean() * norm.sqrt() for c, norm in enumerate(norms)])


def test_square_norms_are_averaged_over_samples():
    inputs = torch.randn(5, 7, 3)
    expected = torch.stack([torch.linalg.vector_norm(x, dim=0) ** 2 for x in inputs]).mean(0)
    torch.testing.assert_close(mean_square_norms(inputs), expected)


def test_square_norms_are_taken_in_float32():
    norms = mean_square_norms(torch.full((1, 1, 2), 3e4, dtype=torch.float16))
    assert norms.tolist() == pytest.approx([9e8, 9e8], rel=1e-3)


@pytest.mark.parametrize("heads", [4, 2])
def test_scores_are_the_plain_metric_summed_over_a_groups_channels(tiny_llama, tokens, inputs_of, heads):
    model = tiny_llama(num_key_value_heads=heads)
    scores = score_in_order(model, tokens.ids, ONE)
    block = blocks(model)[0]
    out, down = inputs_of(model, tokens.ids, 0)
    channels = plain_metric(block.self_attn.o_proj, out)
    width = 64 // heads
    groups = torch.stack([channels[group * width : (group + 1) * width].sum() for group in range(heads)])
    torch.testing.assert_close(scores.groups[0], groups.float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(scores.neurons[0], plain_metric(block.mlp.down_proj, down).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("heads", [4, 2])
def test_a_block_is_scored_on_what_the_pruned_blocks_before_it_put_out(tiny_llama, tokens, inputs_of, heads):
    model = tiny_llama(num_key_value_heads=heads)
    plan = WandaSp(ratio=0.5).plan(model, tokens).plan
    before = Plan(edit for edit in plan.edits if edit.path.startswith((f"{BLOCKS}.0.", f"{BLOCKS}.1.")))
    student = build_language_student(model, before).eval()
    scores = score_in_order(model, tokens.ids, Removed([heads // 2] * 10, [86] * 10))
    out, down = inputs_of(student, tokens.ids, 2)
    groups = plain_metric(blocks(model)[2].self_attn.o_proj, out).view(heads, -1).sum(1)
    torch.testing.assert_close(scores.groups[2], groups.float(), rtol=1e-4, atol=0)
    neurons = plain_metric(blocks(model)[2].mlp.down_proj, down)
    torch.testing.assert_close(scores.neurons[2], neurons.float(), rtol=1e-4, atol=0)
    dense = plain_metric(blocks(model)[2].mlp.down_proj, inputs_of(model, tokens.ids, 2)[1])
    assert not torch.allclose(dense, neurons, rtol=1e-2)


def test_scores_do_not_depend_on_the_batches(tiny_llama, tokens):
    model = tiny_llama()
    some, all_at_once = (score_in_order(model, tokens.ids, ONE, batch_size=size) for size in (4, 6))
    for part, whole in zip((*some.groups, *some.neurons), (*all_at_once.groups, *all_at_once.neurons), strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=0)


def test_scoring_leaves_the_model_as_it_was(tiny_llama, tokens):
    model = tiny_llama().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits = model(tokens.ids).logits
    WandaSp(ratio=0.5).plan(model, tokens)
    assert model.training
    assert torch.equal(model(tokens.ids).logits, logits)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("heads", [4, 2])
def test_the_student_is_the_whole_model_with_zeros_in_the_cut_channels(tiny_llama, tokens, heads):
    model = tiny_llama(num_key_value_heads=heads)
    result = WandaSp(num_removed=3).plan(model, tokens)
    student = build_language_student(model, result.plan).eval()
    with torch.no_grad():
        for edit in result.plan.edits:
            if edit.inputs is not None:
                weight = model.get_parameter(f"{edit.path}.weight")
                weight[:, sorted(set(range(weight.shape[1])) - set(edit.inputs))] = 0
        torch.testing.assert_close(student(tokens.ids).logits, model(tokens.ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "heads", "neurons", "total"),
    [(0.2, 26, 8807, 5_470_294_016), (0.29, 23, 7816, 4_879_290_368), (0.35, 21, 7156, 4_485_550_080)],
)
def test_a_ratio_leaves_the_published_widths_of_llama_7b(ratio, heads, neurons, total):
    model = meta_language_model(LanguageTeacher("", weights="random", architecture="llama_7b"))
    pruner = WandaSp(ratio=ratio)
    result = pruner.plan(model, scores=WidthScores([torch.arange(32.0)] * 32, [torch.arange(11008.0)] * 32))
    assert (set(result.counts["heads"]), set(result.counts["neurons"])) == ({heads}, {neurons})
    assert result.counts["params"] == pruner.check(model) == total
    assert params(build_language_student(model, result.plan)) == total


@pytest.mark.parametrize(("number", "heads"), [(1, 4), (3, 3), (6, 2)])
def test_parameters_of_removed_blocks_are_met_to_within_a_neuron(tiny_llama, tokens, number, heads):
    model = tiny_llama()
    wanted = params(model) - number * params(blocks(model)[0])
    counts = WandaSp(num_removed=number).plan(model, tokens).counts
    assert counts["target_params"] == wanted
    assert abs(counts["params"] - wanted) <= 3 * 64 / 2
    assert set(counts["heads"]) == {heads}
    assert max(counts["neurons"]) - min(counts["neurons"]) <= 1


def test_a_half_precision_model_gets_finite_scores_near_those_of_the_whole_one(tiny_llama, tokens):
    model = tiny_llama()
    whole = score_in_order(model, tokens.ids, ONE)
    half = score_in_order(model.bfloat16(), tokens.ids, ONE)
    assert half.neurons[0].dtype == torch.float32
    torch.testing.assert_close(half.neurons[0], whole.neurons[0], rtol=0.05, atol=0)


def test_a_calibration_set_of_another_vocabulary_is_refused(tiny_llama):
    with pytest.raises(ValueError, match=r"calibration tokens must be in \[0, 256\)"):
        WandaSp(ratio=0.5).plan(tiny_llama(), Calibration(torch.full((2, 8), 300), ""))


def test_no_calibration_set_is_refused(tiny_llama):
    with pytest.raises(ValueError, match="calibration must be given where there are no scores"):
        WandaSp(ratio=0.5).plan(tiny_llama())


def test_a_model_without_weights_is_refused_without_scores(tokens):
    model = meta_language_model(LanguageTeacher("", weights="random", architecture="smollm2_135m"))
    with pytest.raises(ValueError, match="model must have weights to score its channels"):
        WandaSp(ratio=0.5).plan(model, tokens)


def test_scores_of_another_model_are_refused(tiny_llama):
    scores = WidthScores([torch.ones(2)] * 10, [torch.ones(172)] * 10)
    with pytest.raises(ValueError, match=r"scores must be of \[\(4, 172\)"):
        WandaSp(ratio=0.5).plan(tiny_llama(), scores=scores)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="scores of a block must be finite, but some of block 1 are not"):
        WidthScores([torch.ones(2)] * 2, [torch.ones(3), torch.tensor([1.0, float("nan"), 1.0])])


@pytest.mark.parametrize("budget", [{"ratio": 0.5}, {"num_removed": 2}])
def test_heads_stay_where_they_are_not_to_be_cut(tiny_llama, tokens, budget):
    counts = WandaSp(**budget, cut_heads=False).plan(tiny_llama(), tokens).counts
    assert set(counts["heads"]) == {4}
    assert min(counts["neurons"]) < 172
