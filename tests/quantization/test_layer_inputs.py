"""What a block's linear layers are given, and which of them are given the same."""

from functools import partial

import pytest
import torch

from ldc.families.llama import blocks
from ldc.models.language import Walk
from ldc.quantization.layer_inputs import hessians, sharing_inputs


@pytest.fixture
def walked(small_llama, ids):
    """A block, what runs it, and the state before it, (S, L, D)."""
    walk = Walk(model := small_llama(), ids)
    return blocks(model)[0], partial(walk.step, 0), walk.start


def test_layers_of_one_input_share_its_hessian(walked):
    assert sharing_inputs(*walked) == [
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        ["self_attn.o_proj"],
        ["mlp.gate_proj", "mlp.up_proj"],
        ["mlp.down_proj"],
    ]


def test_a_hessian_is_the_mean_over_all_tokens_of_all_samples(walked):
    block, through, states = walked
    rows = block.input_layernorm(states).flatten(0, 1)
    [found] = hessians(block, through, ["self_attn.q_proj"], states.split(1))
    assert torch.allclose(found, rows.T @ rows / len(rows), atol=1e-5)
