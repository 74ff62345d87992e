"""Language teachers: the stated precision, exactly the tensors of the config, and one sentence for all else."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from ldc.models.language import (
    LanguageTeacher,
    check_language_teacher,
    is_language_model,
    load_language_teacher,
    meta_language_model,
)

NORM = "model.layers.1.input_layernorm.weight"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_is_loaded_frozen_with_its_tokenizer(save_llama, tiny_llama):
    folder = save_llama()
    model, tokenizer, found = load_language_teacher(LanguageTeacher(str(folder)))
    assert equal(model, tiny_llama(num_hidden_layers=4))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tokenizer("ab").input_ids == [68, 69]
    assert found == folder


def test_weights_stored_in_half_precision_are_loaded_as_stated_and_said_so(save_llama, caplog):
    folder = save_llama(dtype=torch.float16)
    with caplog.at_level(logging.INFO):
        model = load_language_teacher(LanguageTeacher(str(folder))).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert f"The weights of {folder} are stored in float16 and loaded in float32." in caplog.messages


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_rotary_frequencies_stay_in_float32_in_a_model_of_half_precision(save_llama, weights):
    teacher = LanguageTeacher(str(save_llama()), weights, dtype="bfloat16")
    model = load_language_teacher(teacher).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert {p.dtype for p in meta_language_model(teacher).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(NORM), rf"lacks 1, first '{NORM}'\.$"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), r"adds 1, first 'extra'\.$"),
        (lambda tensors: tensors.update({NORM: torch.zeros(3)}), rf"has other shapes in 1, first '{NORM}'\.$"),
    ],
)
def test_weights_that_are_not_exactly_the_configs_are_refused(save_llama, change, message):
    folder = save_llama()
    change_weights(folder, change)
    with pytest.raises(ValueError, match=r"^teacher must have exactly the tensors of its config, but .* " + message):
        load_language_teacher(LanguageTeacher(str(folder)))


def test_rotary_frequencies_in_old_weights_are_no_extra_tensors(save_llama):
    folder = save_llama()
    change_weights(
        folder, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
    )
    assert load_language_teacher(LanguageTeacher(str(folder))).model is not None


def test_damaged_weights_are_one_sentence(save_llama):
    folder = save_llama()
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"^teacher must have readable weights, but in .*[^.]\.$"):
        load_language_teacher(LanguageTeacher(str(folder)))


def test_a_damaged_tokenizer_is_one_sentence(save_llama):
    folder = save_llama()
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=rf"^tokenizer in {folder} must be readable, but: .*[^.]\.$"):
        load_language_teacher(LanguageTeacher(str(folder)))


def test_old_weights_of_pickles_are_loaded(save_llama, tiny_llama):
    folder = save_llama()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert equal(load_language_teacher(LanguageTeacher(str(folder))).model, tiny_llama(num_hidden_layers=4))


@pytest.mark.parametrize(("kind", "config"), [(BertForMaskedLM, BertConfig), (T5ForConditionalGeneration, T5Config)])
@pytest.mark.parametrize("ask", [check_language_teacher, load_language_teacher, meta_language_model])
def test_an_encoder_is_refused_before_its_weights_are_read(tmp_path, kind, config, ask):
    config(architectures=[kind.__name__]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=rf"^model must be a decoder-only language model, .* not {kind.__name__}\.$"):
        ask(LanguageTeacher(str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(quantization_config={"quant_method": "gptq"}), "has a quantization_config"),
        (lambda config: config.pop("model_type"), "names no model_type"),
        (lambda config: config.update(model_type="no such"), "must have a config that transformers takes"),
        (lambda config: config.update(num_attention_heads="four"), "must have a config that transformers takes"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_sentence(save_llama, change, message):
    folder = save_llama()
    edit(folder / "config.json", change)
    with pytest.raises(ValueError, match=message + r"(.*[^.])?\.$"):
        load_language_teacher(LanguageTeacher(str(folder)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "must be a transformers folder, but .* has no config.json"),
        ("/no/such/folder", "teacher must be an existing folder or a hub id that can be reached"),
        ("nobody/nothing", "teacher must be an existing folder or a hub id that can be reached"),
        ("no such.gguf", r"teacher must be an existing file, not 'no such\.gguf'"),
        ("pypi:llm==1", "must be pypi:NAME==VERSION/FILE"),
    ],
)
def test_what_is_not_there_is_told_by_the_check_and_by_loading(tmp_path, path, message):
    for ask in (check_language_teacher, load_language_teacher):
        with pytest.raises(ValueError, match=message):
            ask(LanguageTeacher(path or str(tmp_path)))


def test_a_folder_without_weights_is_refused_by_the_check(save_llama):
    folder = save_llama()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"must have weights, but .* has no model.safetensors"):
        check_language_teacher(LanguageTeacher(str(folder)))
    assert sum(p.numel() for p in meta_language_model(LanguageTeacher(str(folder))).parameters()) > 0


def test_random_weights_need_only_a_config_and_are_a_function_of_the_seed(save_llama, tmp_path):
    (tmp_path / "alone").mkdir()
    (save_llama() / "config.json").rename(tmp_path / "alone" / "config.json")
    before = torch.get_rng_state()
    first, again, other = (
        load_language_teacher(LanguageTeacher("", "random", str(tmp_path / "alone"), seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.tokenizer is None
    assert equal(first.model, again.model)
    assert not equal(first.model, other.model)


def test_random_weights_have_the_tokenizer_of_their_architectures_folder(save_llama):
    teacher = load_language_teacher(LanguageTeacher("", "random", str(save_llama())))
    assert teacher.tokenizer("ab").input_ids == [68, 69]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "trained"}, "weights must be pretrained or random, not 'trained'"),
        ({"dtype": "fp16"}, "dtype must be one of float32, bfloat16, float16, not 'fp16'"),
    ],
)
def test_settings_out_of_their_sets_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LanguageTeacher("x", **settings)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(
        ValueError, match=r"architecture must be a folder with a config.json or one of llama_7b, .*'gpt'"
    ):
        check_language_teacher(LanguageTeacher("", "random", "gpt"))


def test_language_models_are_told_from_pipelines_by_their_config(save_llama, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    assert is_language_model(save_llama())
    assert is_language_model("some.gguf")
    assert is_language_model({"model_type": "llama"})
    assert not is_language_model(tmp_path / "unet")
    assert not is_language_model(tmp_path)
    assert not is_language_model("/no/such/folder")
