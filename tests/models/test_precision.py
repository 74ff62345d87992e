import torch

from ldc.models.precision import cast


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
