import pytest
import torch

from ldc.families.llama import settle
from ldc.quantization import GptqSettings, quantisable, quantise_model, round_model
from ldc.quantization.gptq import output_error
from ldc.surgery import Keep, Plan, apply


def difference(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


def test_eight_bits_are_nearly_the_model_itself(small_llama, ids):
    model = small_llama()
    before = model(ids).logits
    quantise_model(model, ids, GptqSettings(bits=8))
    assert difference(model(ids).logits, before) < 0.005


def test_four_bits_are_nearer_to_the_model_than_rounding_to_nearest(small_llama, ids):
    model, nearest = small_llama(), small_llama()
    before = model(ids).logits
    report = quantise_model(model, ids, GptqSettings())
    round_model(nearest, GptqSettings())
    assert difference(model(ids).logits, before) < difference(nearest(ids).logits, before)
    assert all(0 < layer.gptq < layer.round_to_nearest for layer in report.reports)


def test_the_linear_layers_of_the_blocks_are_quantised_and_no_others(small_llama, ids):
    model, before = small_llama(), small_llama().state_dict()
    quantised = quantise_model(model, ids, GptqSettings(other_dtype="float32"))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{name}.weight" for name in quantised.layers}
    assert len(changed) == 3 * 7
    assert {name.split(".")[0] for name in changed} == {"model"}


def test_the_weights_are_those_that_the_codes_stand_for(small_llama, ids):
    model = small_llama()
    for name, layer in quantise_model(model, ids, GptqSettings()).layers.items():
        assert torch.equal(model.get_submodule(name).weight, layer.dequantised())
        assert layer.codes.unique().numel() <= 16


def test_other_tensors_are_measured_as_they_are_saved(small_llama, ids):
    model = small_llama()
    quantise_model(model, ids, GptqSettings(other_dtype="bfloat16"))
    embeddings = model.model.embed_tokens.weight
    assert torch.equal(embeddings, embeddings.to(torch.bfloat16).float())


def test_a_type_that_does_not_hold_a_weight_is_refused(small_llama, ids):
    model = small_llama()
    with torch.no_grad():
        model.model.norm.weight[0] = 1e5
    with pytest.raises(ValueError, match=r"float16 does not hold model\.norm\.weight"):
        quantise_model(model, ids, GptqSettings())


@pytest.mark.parametrize("sequential", [True, False])
def test_each_block_sees_what_the_quantised_blocks_before_it_give_out(small_llama, ids, sequential):
    model, before = small_llama(), small_llama()
    found = quantise_model(model, ids, GptqSettings(sequential=sequential, other_dtype="float32"))
    name = "model.layers.2.self_attn.q_proj"
    inputs = []
    model.get_submodule(name).register_forward_pre_hook(lambda _, given: inputs.append(given[0].flatten(0, 1)))
    model(ids)
    hessian = inputs[0].T @ inputs[0] / len(inputs[0])
    error = output_error(before.get_submodule(name).weight, found.layers[name], hessian)
    assert next(layer.gptq for layer in found.reports if layer.name == name) == pytest.approx(error, rel=1e-3)


def test_within_a_block_layers_see_the_quantised_layers_before_them_if_sequential(small_llama, ids):
    found = [
        quantise_model(small_llama(num_hidden_layers=1), ids, GptqSettings(bits=3, sequential=s)).layers
        for s in (True, False)
    ]
    same = {name: torch.equal(found[0][name].codes, found[1][name].codes) for name in found[0]}
    assert same["model.layers.0.self_attn.q_proj"]
    assert not same["model.layers.0.mlp.down_proj"]


def test_tied_embeddings_stay_tied(small_llama, ids):
    model = small_llama(tie_word_embeddings=True)
    quantise_model(model, ids, GptqSettings())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_depth_pruned_student_is_quantised(small_llama, ids):
    model = small_llama()
    student = apply(model, Plan([Keep("model.layers", (0, 2))]), settle)
    assert len(quantise_model(student, ids, GptqSettings()).layers) == 2 * 7


def test_layers_that_slide_over_a_window_get_masks_of_their_own(ids):
    from transformers import Gemma2Config, Gemma2ForCausalLM  # noqa: PLC0415 - costs seconds

    torch.manual_seed(0)
    config = Gemma2Config(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, vocab_size=256, sliding_window=8,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval().requires_grad_(requires_grad=False)
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    before = model(ids).logits
    quantise_model(model, ids, GptqSettings(bits=8))
    assert difference(model(ids).logits, before) < 0.01


def test_a_group_size_that_does_not_divide_is_refused_before_any_work(tiny_llama, ids):
    model, before = tiny_llama(num_hidden_layers=1), tiny_llama(num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"input width of every layer \(64, 172\)"):
        quantise_model(model, ids, GptqSettings())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


def test_an_encoder_is_refused_in_a_sentence():
    from transformers import BertConfig, BertModel  # noqa: PLC0415 - costs seconds

    bert = BertModel(BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    with pytest.raises(ValueError, match="must be a decoder-only language model"):
        quantisable(bert)
