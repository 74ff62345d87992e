"""LoRA of language models: the published counts, merging, what peft loads, and the student that is its own parent."""

import copy

import pytest
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from ldc.models.adapters import merge_adapters, save_language_adapters
from ldc.objectives import CausalScores, LogitDistillation, Networks
from ldc.objectives.lora import LANGUAGE_TARGETS, AdaptersOff, add_lora
from tests.training.tokens import token_batch

LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "vocab_size": 32000}
IDS = torch.arange(3, 43).view(2, 20)


@pytest.fixture
def adapted(tiny_llama):
    """`adapted(dtype)`: a model with adapters that are no longer zero."""

    def build(dtype=torch.float32, **changes):
        model = add_lora(tiny_llama(num_hidden_layers=2, **changes).to(dtype), 4, 8, LANGUAGE_TARGETS, dropout=0.05)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.02)
        return model.eval()

    return build


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def trained(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize(("blocks", "count"), [(32, 19_988_480), (26, 16_240_640), (6, 3_747_840)])
def test_adapters_of_llama_7b_have_the_published_number_of_parameters(blocks, count):
    with torch.device("meta"):
        model = add_lora(LlamaForCausalLM(LlamaConfig(**LLAMA_7B, num_hidden_layers=blocks)), 8, 16, LANGUAGE_TARGETS)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


def test_new_adapters_change_no_logits_and_only_they_train(tiny_llama):
    model = add_lora(tiny_llama(num_hidden_layers=2), 4, 8, LANGUAGE_TARGETS, dropout=0.05).eval()
    assert torch.equal(logits(model), logits(tiny_llama(num_hidden_layers=2)))
    assert len(trained(model)) == 2 * 2 * len(LANGUAGE_TARGETS)
    assert all("lora_" in name for name in trained(model))


@pytest.mark.parametrize("tied", [False, True])
def test_merged_logits_are_the_unmerged_ones(adapted, tiny_llama, tied):
    model = adapted(tie_word_embeddings=tied)
    before = logits(model)
    merged = merge_adapters(model)
    torch.testing.assert_close(logits(merged), before, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, logits(tiny_llama(num_hidden_layers=2, tie_word_embeddings=tied)), atol=0.1)


def test_merged_is_a_stock_model_of_the_same_precision(adapted, tmp_path):
    model = adapted(torch.bfloat16)
    before = logits(model)
    merge_adapters(model).save_pretrained(tmp_path)
    loaded, info = LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True, local_files_only=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    torch.testing.assert_close(logits(model), before, rtol=0.1, atol=0.1)


def test_peft_loads_the_saved_adapters(adapted, tiny_llama, tmp_path):
    model = adapted()
    folder = save_language_adapters(tmp_path / "lora", model, "base/model")
    loaded = PeftModel.from_pretrained(tiny_llama(num_hidden_layers=2), folder)
    assert torch.equal(logits(loaded), logits(model))
    config = loaded.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.05)
    assert set(config.target_modules) == set(LANGUAGE_TARGETS)
    assert config.base_model_name_or_path == "base/model"


def test_a_model_without_adapters_has_none_to_save(tiny_llama, tmp_path):
    with pytest.raises(ValueError, match="model must have LoRA adapters to be saved, but this LlamaForCausalLM has no"):
        save_language_adapters(tmp_path, tiny_llama(num_hidden_layers=1))


def test_the_student_with_its_adapters_off_is_its_own_parent(adapted, tiny_llama):
    student = CausalScores(adapted())
    parent, batch = CausalScores(tiny_llama(num_hidden_layers=2)), token_batch(1, 2)
    own = LogitDistillation()(Networks(student, AdaptersOff(student)), batch)
    other = LogitDistillation()(Networks(student, parent), batch)
    torch.testing.assert_close(own, other)
    own["total"].backward()
    assert all(parameter.grad is not None for parameter in student.parameters() if parameter.requires_grad)


def test_dropout_of_adapters_acts_in_training_alone(adapted):
    model = adapted()
    plain = logits(model)
    torch.manual_seed(0)
    assert not torch.equal(logits(copy.deepcopy(model).train()), plain)
    assert torch.equal(logits(model), plain)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"targets": ("q_proj", "to_q")}, r"LoRA targets must name modules of LlamaForCausalLM, not to_q\."),
        ({"targets": ()}, r"LoRA targets must name modules of LlamaForCausalLM, not none\."),
        ({"targets": LANGUAGE_TARGETS, "dropout": 1}, r"LoRA dropout must be in \[0, 1\), not 1\."),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny_llama, settings, said):
    with pytest.raises(ValueError, match=said):
        add_lora(tiny_llama(num_hidden_layers=1), 4, 8, **settings)
