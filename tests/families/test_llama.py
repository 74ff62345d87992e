"""Depth pruning of Llama and its relatives: counts of the published models, counters, lists and cache after removal."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ldc.families.llama import BLOCKS, block_params, blocks, check_causal, settle, stock_config
from ldc.models.language import LanguageTeacher, build_language_student, meta_language_model
from ldc.surgery import Keep, Plan, apply

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
RELATIVES = {
    "mistral": {"sliding_window": 6},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 3},
    "qwen3": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 3},
    "gemma": {},
    "gemma2": {"sliding_window": 6},
    "gemma3_text": {"sliding_window": 6},
    "smollm3": {"no_rope_layer_interval": 3},
}
KEPT = (0, 2, 3, 5, 7)


def relative(kind):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL | RELATIVES[kind])).eval()


def without(count, *removed):
    return Plan([Keep(BLOCKS, tuple(index for index in range(count) if index not in removed))])


def params(model):
    return sum(parameter.numel() for parameter in model.parameters())


def generate(model, **settings):
    ids = torch.arange(3, 15).reshape(2, 6)
    return model.generate(ids, max_new_tokens=12, min_new_tokens=12, do_sample=False, **settings)


@pytest.mark.parametrize(
    ("architecture", "total"),
    [
        ("llama_7b", 6_738_415_616),
        ("llama_13b", 13_015_864_320),
        ("llama2_7b", 6_738_415_616),
        ("vicuna_7b", 6_738_415_616),
        ("vicuna_13b", 13_015_864_320),
        ("llama3_8b", 8_030_261_248),
        ("mistral_7b", 7_241_732_096),
        ("gemma_2b", 2_506_172_416),
        ("gemma_7b", 8_537_680_896),
        ("smollm2_135m", 134_515_008),
    ],
)
def test_published_models_have_their_published_numbers_of_parameters(architecture, total):
    assert params(meta_language_model(LanguageTeacher("", "random", architecture))) == total


@pytest.mark.parametrize(
    ("architecture", "block", "left"),
    [
        ("llama_7b", 202_383_360, {31: 6_536_032_256, 26: 5_524_115_456, 23: 4_916_965_376, 21: 4_512_198_656}),
        ("vicuna_7b", 202_383_360, {17: 3_702_665_216, 12: 2_690_748_416, 6: 1_476_448_256}),
        ("vicuna_13b", 317_204_480, {32: 10_478_228_480, 29: 9_526_615_040, 25: 8_257_797_120}),
        ("llama3_8b", 218_112_000, {26: 6_721_589_248}),
        ("mistral_7b", 218_112_000, {26: 5_933_060_096}),
    ],
)
def test_removed_blocks_leave_the_published_numbers_of_parameters(architecture, block, left):
    model = meta_language_model(LanguageTeacher("", "random", architecture))
    assert set(block_params(model)) == {block}
    for count, total in left.items():
        student = build_language_student(model, Plan([Keep(BLOCKS, tuple(range(count)))]))
        assert params(student) == total
        assert student.config.num_hidden_layers == count


def test_removing_a_block_whose_outputs_are_zero_changes_no_logit(tiny_llama):
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[4].self_attn.o_proj.weight.zero_()
        model.model.layers[4].mlp.down_proj.weight.zero_()
        ids = torch.arange(48).reshape(2, 24)
        student = build_language_student(model, without(10, 4))
        assert torch.equal(student(ids).logits, model(ids).logits)


@pytest.mark.parametrize("heads", [4, 2])
def test_cached_generation_of_a_pruned_llama_equals_uncached(tiny_llama, heads):
    student = build_language_student(tiny_llama(num_key_value_heads=heads), without(10, 4, 5, 6))
    assert torch.equal(generate(student), generate(student, use_cache=False))


@pytest.mark.parametrize("kind", RELATIVES)
def test_cached_generation_of_pruned_relatives_equals_uncached(kind):
    student = build_language_student(relative(kind), Plan([Keep(BLOCKS, KEPT)]))
    assert torch.equal(generate(student), generate(student, use_cache=False))


@pytest.mark.parametrize("kind", RELATIVES)
def test_a_pruned_relative_keeps_of_each_list_what_its_blocks_had(kind):
    model = relative(kind)
    student = build_language_student(model, Plan([Keep(BLOCKS, KEPT)]))
    for key in ("layer_types", "no_rope_layers"):
        before, after = getattr(model.config, key, None), getattr(student.config, key, None)
        assert after == (None if before is None else [before[index] for index in KEPT])
    assert [block.self_attn.layer_idx for block in blocks(student)] == list(range(len(KEPT)))
    config = stock_config(student)
    assert config is not None
    assert config["num_hidden_layers"] == len(KEPT)
    assert len(model.model.layers) == model.config.num_hidden_layers == 8


@pytest.mark.parametrize("kind", RELATIVES)
def test_a_pruned_relative_computes_what_the_stock_model_of_its_config_does(kind):
    student = build_language_student(relative(kind), Plan([Keep(BLOCKS, KEPT)]))
    stock = type(student)(type(student.config).from_dict(stock_config(student))).eval()
    stock.load_state_dict(student.state_dict(), strict=True)
    ids = torch.arange(3, 35).reshape(2, 16)  # longer than the windows
    with torch.no_grad():
        assert torch.equal(stock(ids).logits, student(ids).logits)
    assert torch.equal(generate(stock), generate(student))


def test_qwens_count_of_blocks_without_a_window_follows():
    student = build_language_student(relative("qwen2"), Plan([Keep(BLOCKS, (0, 2, 4))]))
    assert student.config.max_window_layers == 2
    assert student.config.layer_types == ["full_attention", "full_attention", "sliding_attention"]


def test_a_model_whose_index_into_the_cache_is_wrong_has_no_stock_config(tiny_llama):
    student = build_language_student(tiny_llama(), without(10, 4))
    assert stock_config(student) is not None
    student.model.layers[3].self_attn.layer_idx = 9
    assert stock_config(student) is None


def test_settling_works_in_place_and_twice(tiny_llama):
    model = apply(tiny_llama(), without(10, 1), settle)
    assert len(blocks(apply(model, without(9, 1), settle))) == model.config.num_hidden_layers == 8


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        (BertForMaskedLM, BertConfig, r"must be a decoder-only language model, .* not BertForMaskedLM\.$"),
        (T5ForConditionalGeneration, T5Config, r"must be a decoder-only language model, .* T5ForConditionalGeneration"),
        (GPT2LMHeadModel, GPT2Config, r"^blocks of the model must be in model\.layers, .*GPT2LMHeadModel's\.$"),
    ],
)
def test_other_models_are_refused_by_the_model_and_by_its_config(kind, config, message):
    with torch.device("meta"):
        model = kind(config())
    for given in (model, config(architectures=[kind.__name__]), {"architectures": [kind.__name__]}):
        with pytest.raises(ValueError, match=message):
            check_causal(given)


def test_a_model_without_a_head_is_refused(tiny_llama):
    with pytest.raises(ValueError, match=r"not LlamaModel\.$"):
        check_causal(tiny_llama().model)
