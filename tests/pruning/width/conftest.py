"""Calibration sets, and what a model's projections are given."""

import pytest
import torch

from ldc.data.text import Calibration
from ldc.families.llama import blocks


@pytest.fixture
def tokens():
    """A calibration set of 6 samples of 16 random tokens of the tiny Llama."""
    ids = torch.randint(3, 256, (6, 16), generator=torch.Generator().manual_seed(0))
    return Calibration(ids, "tokens")


@pytest.fixture
def inputs_of():
    """`inputs_of(model, ids, block)`: what goes into a block's output and down projection, (S, L, C) and (S, L, F)."""

    def read(model, ids, block):
        seen, chosen = {}, blocks(model)[block]
        projections = chosen.self_attn.o_proj, chosen.mlp.down_proj
        handles = [
            each.register_forward_pre_hook(lambda module, args: seen.update({module: args[0].detach().clone()}))
            for each in projections
        ]
        with torch.no_grad():
            model(ids)
        for handle in handles:
            handle.remove()
        return [seen[each] for each in projections]

    return read
