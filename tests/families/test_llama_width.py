import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ldc.families.llama import BLOCKS, blocks, settle
from ldc.families.llama_width import group_slices, neuron_slices, settle_widths, widths
from ldc.models.language import LanguageTeacher, build_language_student, meta_language_model
from ldc.profiling import params
from ldc.surgery import Keep, Plan, Slice, apply

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "head_dim": 8,
}


def unequal(model):
    """Blocks of different widths: the first loses a group, the second neurons, the third both."""
    first, second, third, *_ = blocks(model)
    return Plan(
        [
            *group_slices(f"{BLOCKS}.0", first, (1,)),
            *neuron_slices(f"{BLOCKS}.1", second, range(5, 20)),
            *group_slices(f"{BLOCKS}.2", third, (0,), bias=True),
            *neuron_slices(f"{BLOCKS}.2", third, range(7), bias=True),
        ]
    )


def relative(kind, **changes):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(
                10 if parameter.ndim > 1 else 1
            )  # as drawn they are so small that every token is followed alike
    return model


def generated(model, *, use_cache):
    ids = torch.tensor([[1, 5, 9, 3]])
    sampling = {"do_sample": False, "min_new_tokens": 12, "max_new_tokens": 12}
    return model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=use_cache, pad_token_id=0, **sampling)


@pytest.mark.parametrize(("heads", "groups"), [(4, (4, 1)), (2, (2, 2)), (1, (1, 4))])
def test_query_heads_that_share_a_key_head_are_one_group(tiny_llama, heads, groups):
    width = widths(blocks(tiny_llama(num_key_value_heads=heads, num_hidden_layers=1))[0])
    assert (width.groups, width.group_heads) == groups
    assert (width.head_dim, width.neurons) == (16, 172)


def test_the_widths_of_llama_7b_give_flaps_cost_of_a_head():
    model = meta_language_model(LanguageTeacher("", weights="random", architecture="llama_7b"))
    width = widths(blocks(model)[0])
    assert width[:4] == (32, 1, 128, 11008)
    assert width.group_params / width.neuron_params == 512 / 3


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_groups_neurons_and_norms_are_all_parameters_of_a_block(kind):
    block = blocks(relative(kind))[0]
    width = widths(block)
    norms = sum(parameter.numel() for name, parameter in block.named_parameters() if "norm" in name)
    assert width.groups * width.group_params + width.neurons * width.neuron_params + norms == params(block)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma2"])
def test_blocks_of_different_widths_generate_alike_with_and_without_the_cache(kind):
    model = relative(kind)
    student = build_language_student(model, unequal(model)).eval()
    assert torch.equal(generated(student, use_cache=True), generated(student, use_cache=False))


def test_a_student_that_lost_blocks_and_channels_generates_alike_with_and_without_the_cache():
    model = relative("llama")
    student = build_language_student(model, Plan([*unequal(model).edits, Keep(BLOCKS, (0, 2))])).eval()
    assert torch.equal(generated(student, use_cache=True), generated(student, use_cache=False))


@pytest.mark.parametrize("heads", [4, 2])
def test_cut_channels_are_those_that_get_zeros_in_the_whole_model(tiny_llama, heads):
    model = tiny_llama(num_key_value_heads=heads)
    student = build_language_student(model, unequal(model)).eval()
    gone = heads - 1 if heads == 2 else 3
    channels = 64 // heads * gone
    with torch.no_grad():
        first, second, third, *_ = blocks(model)
        first.self_attn.o_proj.weight[:, [c for c in range(64) if not 64 // heads <= c < 2 * 64 // heads]] = 0
        second.mlp.down_proj.weight[:, [n for n in range(172) if not 5 <= n < 20]] = 0
        third.self_attn.o_proj.weight[:, 64 - channels :] = 0
        third.mlp.down_proj.weight[:, 7:] = 0
        ids = torch.arange(3, 35)[None]
        torch.testing.assert_close(student(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)


def test_an_edited_block_says_how_wide_it_is():
    model = relative("llama")
    third = blocks(build_language_student(model, unequal(model)))[2]
    assert widths(third)[:4] == (1, 2, 8, 7)
    assert (third.self_attn.num_key_value_groups, third.mlp.intermediate_size) == (2, 7)


def test_keeping_all_is_no_edit(tiny_llama):
    block = blocks(tiny_llama(num_hidden_layers=1))[0]
    assert group_slices("here", block, range(4)) + neuron_slices("here", block, range(172)) == []


def test_projections_that_are_cut_differently_are_refused():
    model = relative("llama")
    with pytest.raises(ValueError, match=r"must be cut alike.* have 32, 16, 8 and 32 channels"):
        apply(model, Plan([Slice(f"{BLOCKS}.0.self_attn.v_proj", range(8))]), settle)


def test_heads_that_are_cut_in_two_are_refused():
    model = relative("llama")
    cut = [Slice(f"{BLOCKS}.0.self_attn.{name}_proj", range(12)) for name in "qkv"]
    with pytest.raises(ValueError, match="12 query channels and 12 key channels are not whole groups of heads of 8"):
        apply(model, Plan(cut), settle)


def test_a_block_whose_projections_are_fused_is_refused():
    model = relative("phi3", pad_token_id=0)
    with pytest.raises(ValueError, match=r"self_attn\.q_proj of a block must be a linear layer .* it is missing"):
        widths(blocks(model)[0])


def test_a_block_whose_norms_span_heads_is_refused():
    model = relative("olmo2", head_dim=8, eos_token_id=2, pad_token_id=0)
    with pytest.raises(ValueError, match="norms of an attention must span one head"):
        widths(blocks(model)[0])


def test_settling_an_unedited_block_changes_nothing():
    block = blocks(relative("qwen3"))[0]
    before = (block.self_attn.num_key_value_groups, block.mlp.intermediate_size)
    settle_widths(block)
    assert (block.self_attn.num_key_value_groups, block.mlp.intermediate_size) == before
