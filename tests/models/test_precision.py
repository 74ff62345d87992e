import torch

from ldc.models.precision import cast, in_float32


def test_a_cast_rounds_weights_and_leaves_rotary_frequencies_exact(tiny_llama):
    model, other = tiny_llama(tie_word_embeddings=True), tiny_llama(tie_word_embeddings=True)
    assert cast(model, torch.bfloat16) is model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.equal(model.model.rotary_emb.inv_freq, other.model.rotary_emb.inv_freq)
    assert torch.equal(model.lm_head.weight, other.lm_head.weight.bfloat16())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_saved_buffers_are_cast_and_counters_are_not():
    model = cast(torch.nn.BatchNorm1d(2), torch.float16)
    assert model.running_mean.dtype == torch.float16
    assert model.num_batches_tracked.dtype == torch.int64


def test_a_float32_copy_has_the_half_weights_and_leaves_the_model(tiny_llama):
    model = tiny_llama(num_hidden_layers=1, tie_word_embeddings=True).bfloat16().requires_grad_(requires_grad=False)
    copied = in_float32(model, "Taylor")
    assert {tensor.dtype for tensor in copied.state_dict().values()} == {torch.float32}
    assert all(torch.equal(copied.state_dict()[name], value.float()) for name, value in model.state_dict().items())
    assert copied.lm_head.weight is copied.model.embed_tokens.weight
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_float32_model_is_not_copied(tiny_llama):
    model = tiny_llama(num_hidden_layers=1)
    assert in_float32(model, "Taylor") is model


def test_nothing_that_is_copied_is_shared(tiny_llama):
    model = tiny_llama(num_hidden_layers=1).bfloat16()
    model.model.norm.float()
    with torch.no_grad():
        in_float32(model, "Taylor").model.norm.weight.zero_()
    assert model.model.norm.weight.all()
