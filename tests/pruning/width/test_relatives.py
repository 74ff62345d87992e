"""Width pruning of Llama's relatives: biases of projections, norms of heads, windows, soft caps, scaled embeddings."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ldc.models.language import build_language_student
from ldc.pruning.width import Flap, LlmPruner, WandaSp

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "head_dim": 8,
}
PRUNERS = {
    "wanda_sp": WandaSp(ratio=0.5),
    "flap": Flap(ratio=0.5, compensate=False),
    "llm_pruner": LlmPruner(ratio=0.5, protect_first=1, protect_last=1),
}


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_relatives_student_is_the_whole_model_with_zeros_in_the_cut_channels(kind, pruner, tokens):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE)).eval()
    result = PRUNERS[pruner].plan(model, tokens)
    student = build_language_student(model, result.plan).eval()
    inputs = {edit.path: edit.inputs for edit in result.plan.edits if edit.inputs is not None}
    assert any("o_proj" in path for path in inputs)
    assert any("down_proj" in path for path in inputs)
    with torch.no_grad():
        whole = model(tokens.ids).logits
        for path, kept in inputs.items():
            weight = model.get_parameter(f"{path}.weight")
            weight[:, sorted(set(range(weight.shape[1])) - set(kept))] = 0
        masked = model(tokens.ids).logits
        torch.testing.assert_close(student(tokens.ids).logits, masked, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(whole, masked, rtol=1e-4, atol=1e-6)
