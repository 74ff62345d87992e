import pytest
import torch

from ldc.data.text import Calibration
from ldc.families.llama import BLOCKS, blocks
from ldc.families.llama_width import DOWN, OUT
from ldc.models.language import (
    LanguageTeacher,
    build_language_student,
    load_language_student,
    meta_language_model,
    save_language_student,
)
from ldc.profiling import params
from ldc.pruning.width import Flap, WidthScores, install
from ldc.pruning.width.flap import Fluctuation, standardised


def recursion(samples, *, aliased):
    """The published recursion over samples (L, C), channel by channel in float64: (baseline, fluctuation).

    `aliased`: the old baseline is read after it has been overwritten.
    """
    count, tokens, channels = samples.shape
    baseline, fluctuation = [0.0] * channels, [0.0] * channels
    for n in range(count):
        for c in range(channels):
            x = samples[n, :, c].double().tolist()
            old = baseline[c]
            baseline[c] = old * n / (n + 1) + sum(x) / tokens / (n + 1)
            other = baseline[c] if aliased else old
            if n > 0:
                product = sum((value - baseline[c]) * (value - other) for value in x)
                fluctuation[c] = fluctuation[c] * (n - 1) / n + product / (n + 1)
    return torch.tensor(baseline), torch.tensor(fluctuation)


def measured(samples, *, reference):
    found = Fluctuation(reference=reference)
    for sample in samples:
        found.add(sample)
    return found


@pytest.fixture
def samples():
    return torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(3)) + 0.5


def test_the_baseline_is_the_mean_activation(samples):
    torch.testing.assert_close(measured(samples, reference=False).mean, samples.mean((0, 1)))


@pytest.mark.parametrize("reference", [False, True])
def test_fluctuations_are_those_of_the_plain_recursion(samples, reference):
    found = measured(samples, reference=reference)
    baseline, fluctuation = recursion(samples, aliased=reference)
    torch.testing.assert_close(found.mean, baseline)
    torch.testing.assert_close(found.value, fluctuation)


def test_the_new_mean_read_twice_loses_the_shift_of_the_mean(samples):
    # Of the second update, by hand: sum (x - b_2)(x - b_1) / 2 = sum (x - b_2)^2 / 2 + L (m_2 - b_2)(b_2 - b_1) / 2,
    # and both differences are (m_2 - b_1) / 2.
    intended, aliased = (measured(samples[:2], reference=each).value for each in (False, True))
    shift = 7 * (samples[1].mean(0) - samples[0].mean(0)).pow(2) / 8
    torch.testing.assert_close(intended - aliased, shift)
    assert (intended > aliased).all()


def test_equal_scores_are_standardised_to_zeros():
    assert torch.equal(standardised(torch.full((4,), 3.0)), torch.zeros(4))


@pytest.mark.parametrize("heads", [4, 2])
def test_scores_are_the_plain_metric_standardised_in_each_block(tiny_llama, tokens, inputs_of, heads):
    model = tiny_llama(num_key_value_heads=heads)
    scores = Flap(ratio=0.2).score(model, tokens.ids)
    for index in (0, 4):
        block = blocks(model)[index]
        out, down = inputs_of(model, tokens.ids, index)
        attention = recursion(out, aliased=False)[1] * block.self_attn.o_proj.weight.double().pow(2).sum(0)
        attention = attention.pow(2)
        attention = (attention - attention.mean()) / attention.std()
        torch.testing.assert_close(
            scores.groups[index].double(), attention.view(heads, -1).mean(1), rtol=1e-4, atol=1e-5
        )
        neurons = recursion(down, aliased=False)[1] * block.mlp.down_proj.weight.double().pow(2).sum(0)
        neurons = (neurons - neurons.mean()) / neurons.std()
        torch.testing.assert_close(scores.neurons[index].double(), neurons, rtol=1e-4, atol=1e-5)


def test_the_reference_variance_gives_other_scores(tiny_llama, tokens):
    model = tiny_llama()
    ours, theirs = (Flap(ratio=0.2, reference_variance=each).score(model, tokens.ids) for each in (False, True))
    assert not torch.allclose(ours.neurons[3], theirs.neurons[3], rtol=1e-3)


@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("compensate", [True, False])
def test_the_student_is_the_whole_model_with_the_cut_inputs_at_their_mean_or_zero(
    tiny_llama, tokens, heads, compensate
):
    model = tiny_llama(num_key_value_heads=heads, num_hidden_layers=6, intermediate_size=32)
    result = Flap(ratio=0.5, compensate=compensate).plan(model, tokens)
    student = build_language_student(model, result.plan).eval()
    install(student, result.tensors)
    means = Flap(ratio=0.5).score(model, tokens.ids).means
    for edit in result.plan.edits:
        if edit.inputs is not None:
            block, which = int(edit.path.split(".")[2]), edit.path.endswith(DOWN)
            mean = means[block][which] if compensate else torch.zeros_like(means[block][which])
            kept = torch.zeros_like(mean)
            kept[list(edit.inputs)] = 1
            model.get_submodule(edit.path).register_forward_pre_hook(
                lambda _, args, kept=kept, mean=mean: (args[0] * kept + mean * (1 - kept),)
            )
    ids = torch.arange(3, 60)[None]
    assert min(result.counts["kv_heads"]) < heads
    assert bool(result.tensors) is compensate
    torch.testing.assert_close(student(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)


def test_biases_that_are_there_are_added_to(tiny_llama, tokens):
    model = tiny_llama(mlp_bias=True)
    result = Flap(ratio=0.3).plan(model, tokens)
    means = Flap(ratio=0.3).score(model, tokens.ids).means
    name = f"{BLOCKS}.0.{DOWN}"
    edit = next(edit for edit in result.plan.edits if edit.path == name)
    linear = model.get_submodule(name)
    gone = torch.tensor(sorted(set(range(172)) - set(edit.inputs)))
    expected = linear.bias + linear.weight[:, gone] @ means[0][1][gone]
    torch.testing.assert_close(result.tensors[f"{name}.bias"], expected)


def test_biases_bring_the_student_nearer_to_its_parent(tiny_llama, tokens):
    model = tiny_llama()
    with torch.no_grad():
        for block in blocks(model):
            block.mlp.gate_proj.weight.mul_(3)  # activations far from zero on average
        whole, errors = model(tokens.ids).logits, []
        for compensate in (True, False):
            result = Flap(ratio=0.2, compensate=compensate).plan(model, tokens)
            student = build_language_student(model, result.plan).eval()
            install(student, result.tensors)
            errors.append((student(tokens.ids).logits - whole).pow(2).mean())
    assert errors[0] < errors[1]


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("heads", [4, 2])
def test_parameters_of_removed_blocks_are_met_to_within_half_a_neuron_biases_included(
    tiny_llama, tokens, number, heads
):
    model = tiny_llama(num_key_value_heads=heads)
    result = Flap(num_removed=number).plan(model, tokens)
    wanted = params(model) - number * params(blocks(model)[0])
    student = build_language_student(model, result.plan)
    assert params(student) == result.counts["params"]
    assert abs(params(student) - wanted) <= 3 * 64 / 2
    assert result.counts["bias_params"] == sum(
        parameter.numel()
        for name, parameter in student.named_parameters()
        if name.endswith((f"{OUT}.bias", f"{DOWN}.bias"))
    )


def test_means_that_lie_elsewhere_than_the_model_give_biases_where_it_lies(tiny_llama, tokens):
    model = tiny_llama()
    scores = Flap(ratio=0.3).score(model, tokens.ids)
    tensors = Flap(ratio=0.3).plan(model.to("meta"), scores=scores).tensors
    assert tensors
    assert {tensor.device.type for tensor in tensors.values()} == {"meta"}


def test_a_head_goes_at_the_cost_of_its_parameters():
    model = meta_language_model(LanguageTeacher("", weights="random", architecture="llama_7b"))
    groups = [torch.full((32,), 10.0) for _ in range(32)]
    groups[3][5] = 0.0  # the lowest score of all
    scores = WidthScores(groups, [torch.ones(11008)] * 32)
    counts = Flap(params=6_738_415_616 - 4 * 4096 * 128 - 3 * 4096 - 4096 * 2, compensate=True).plan(
        model, scores=scores
    )
    assert counts.counts["heads"] == [32] * 3 + [31] + [32] * 28
    assert sum(counts.counts["neurons"]) == 32 * 11008 - 2  # the second makes up for the two biases to within a half
    assert counts.counts["bias_params"] == 2 * 4096


def test_a_width_student_comes_back_bit_equal_from_its_plan_folder(tiny_llama, tokens, tmp_path):
    model = tiny_llama(num_key_value_heads=2)
    result = Flap(ratio=0.4).plan(model, tokens)
    student = build_language_student(model, result.plan).eval()
    install(student, result.tensors)
    save_language_student(tmp_path, student, result.plan, None, model.config)
    back = load_language_student(tmp_path).model.eval()
    assert torch.equal(back(tokens.ids).logits, student(tokens.ids).logits)


def test_generation_with_the_cache_equals_generation_without(tiny_llama, tokens):
    model = tiny_llama(num_key_value_heads=2)
    result = Flap(ratio=0.5).plan(model, tokens)
    student = build_language_student(model, result.plan).eval()
    install(student, result.tensors)
    ids = tokens.ids[:1]
    settings = {"do_sample": False, "max_new_tokens": 16, "attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    cached, uncached = (student.generate(ids, use_cache=use, **settings) for use in (True, False))
    assert torch.equal(cached, uncached)


def test_one_sample_is_refused_as_nothing_fluctuates(tiny_llama, tokens):
    with pytest.raises(ValueError, match="calibration must hold at least 2 samples, not 1"):
        Flap(ratio=0.2).plan(tiny_llama(), Calibration(tokens.ids[:1], ""))


def test_tensors_of_another_student_are_refused(tiny_llama):
    model = tiny_llama(num_hidden_layers=1)
    with pytest.raises(
        ValueError, match=r"student must have a parameter .*o_proj\.bias of shape \(64,\), but has none"
    ):
        install(model, {f"{BLOCKS}.0.{OUT}.bias": torch.zeros(64)})
