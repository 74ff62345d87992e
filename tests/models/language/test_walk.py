"""Block by block a model is what it is as a whole, whatever its blocks are given, and it is left as it was."""

import pytest
import torch

from ldc.families.llama import blocks
from ldc.models.language import Walk, without

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 256,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
# The blocks of the latter are given embeddings of the tokens, each its own, by position.
GEMMAS = {
    "gemma2": ("Gemma2Config", {"final_logit_softcapping": 5.0}),
    "gemma4": (
        "Gemma4TextConfig",
        {"global_head_dim": 16, "vocab_size_per_layer_input": 256, "hidden_size_per_layer_input": 8},
    ),
}


@pytest.fixture
def ids():
    return torch.randint(0, 256, (3, 32), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model_of(tiny_llama):
    """`model_of("llama" | a key of GEMMAS)`: a Gemma has two blocks with masks of their own."""
    import transformers  # noqa: PLC0415 - costs seconds

    def build(name):
        if name == "llama":
            return tiny_llama()
        torch.manual_seed(0)
        kind, changes = GEMMAS[name]
        config = getattr(transformers, kind)(**SIZES, **changes)
        return transformers.AutoModelForCausalLM.from_config(config).eval()

    return build


def last(walk, state, number):
    for place in range(number):
        state = walk.step(place, state)
    return state


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", *GEMMAS])
def test_all_steps_give_the_models_own_logits(model_of, ids, name):
    model = model_of(name)
    walk = Walk(model, ids)
    state = last(walk, walk.start, len(blocks(model)))
    torch.testing.assert_close(walk.logits(state), model(ids).logits)


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_samples_take_the_steps_of_the_first_one_by_one(model_of, ids, name):
    model = model_of(name)
    walk = Walk(model, ids[:1])
    states = torch.cat([last(walk, walk.start_of(row), len(blocks(model))) for row in ids.split(1)])
    torch.testing.assert_close(Walk(model, ids).logits(states), model(ids).logits)


def test_a_start_of_tokens_that_do_not_fit_the_steps_is_refused(model_of, ids):
    walk = Walk(model_of("gemma4"), ids[:1])
    with pytest.raises(ValueError, match="nothing but the state that depends on the tokens, unlike block 0 of Gemma4"):
        walk.start_of(ids[1:2])


def test_a_start_runs_no_block(tiny_llama, ids):
    model, runs = tiny_llama(), []
    for block in blocks(model):
        block.register_forward_pre_hook(lambda *_: runs.append(1))
    assert torch.equal(Walk(model, ids[:1]).start_of(ids[1:2]), model.model.embed_tokens(ids[1:2]))
    assert not runs


@torch.no_grad()
def test_without_some_blocks_the_others_are_run_as_they_are(tiny_llama, ids):
    model = tiny_llama()
    own, walk = blocks(model), Walk(model, ids)
    state = walk.start
    for place in (0, 2, 3, 4, 6, 7, 8, 9):
        state = walk.step(place, state)
    with without(model, {1, 5}):
        torch.testing.assert_close(model(ids).logits, walk.logits(state))
    assert blocks(model) is own


def test_the_blocks_are_back_after_an_error(tiny_llama, ids):
    model = tiny_llama()
    own = blocks(model)
    with pytest.raises(IndexError):
        Walk(model, ids + 256)
    assert blocks(model) is own
