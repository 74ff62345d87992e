import pytest
import torch


@pytest.fixture
def ids():
    """Tokens of `tiny_llama`'s vocabulary, (8, 32)."""
    return torch.randint(0, 256, (8, 32), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small_llama(tiny_llama):
    """`small_llama(num_hidden_layers=2, ...)`: `tiny_llama` of three blocks, whose widths groups of 64 divide."""

    def build(**changes):
        settings = {"num_hidden_layers": 3, "intermediate_size": 192, "num_key_value_heads": 2}
        return tiny_llama(**settings | changes).requires_grad_(requires_grad=False)

    return build
