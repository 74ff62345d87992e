import json

import pytest
import torch

from ldc.models.language import load_language_student
from ldc.models.language.folders import read_language_config
from ldc.models.language.packed import unpack


def write(folder, model, bits=4, **settings):
    """Quantises by rounding on the tokens 0 to 31 and saves; returns the logits that were measured."""
    from ldc.quantization import GptqSettings, quantise_model, save_quantised  # noqa: PLC0415 - a layer above

    ids = torch.arange(32)[None]
    quantised = quantise_model(model, ids, GptqSettings(bits=bits, **settings))
    save_quantised(folder, model, quantised, GptqSettings(bits=bits, **settings))
    return model(ids).logits


@pytest.fixture
def model(tiny_llama):
    return tiny_llama(num_hidden_layers=2, intermediate_size=192).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("settings", [{}, {"symmetric": False}, {"bits": 3, "group_size": "channel"}], ids=str)
def test_a_quantised_folder_is_loaded_as_what_was_measured(model, tmp_path, settings):
    measured = write(tmp_path, model, **settings)
    with torch.no_grad():
        assert torch.equal(load_language_student(tmp_path).model(torch.arange(32)[None]).logits, measured)


def test_tied_embeddings_are_loaded_tied(tiny_llama, tmp_path):
    tied = tiny_llama(num_hidden_layers=1, intermediate_size=192, tie_word_embeddings=True)
    write(tmp_path, tied.requires_grad_(requires_grad=False))
    loaded = load_language_student(tmp_path).model
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_what_is_loaded_is_a_plain_model(model, tmp_path):
    write(tmp_path, model)
    loaded = load_language_student(tmp_path, torch.bfloat16).model
    assert getattr(loaded.config, "quantization_config", None) is None
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.state_dict().keys() == model.state_dict().keys()


def test_the_scale_is_that_of_the_columns_group():
    parts = {
        "weight_packed": torch.tensor([[0x99999999 - 2**32]], dtype=torch.int32),  # eight codes of 9 - 8 = 1
        "weight_scale": torch.tensor([[2.0, 3.0]]),
        "weight_shape": torch.tensor([1, 8]),
    }
    assert unpack(parts, 4).tolist() == [[2.0] * 4 + [3.0] * 4]


def test_a_missing_layer_is_refused_in_a_sentence(model, tmp_path):
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    write(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    left = {name: tensor for name, tensor in tensors.items() if "layers.1.mlp.up_proj" not in name}
    save_file(left, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"differs in 1, first 'model\.layers\.1\.mlp\.up_proj\.weight'"):
        load_language_student(tmp_path)


@pytest.mark.parametrize("change", [{"format": "nvfp4-pack-quantized"}, {"config_groups": {"a": {}, "b": {}}}])
def test_weights_of_another_quantiser_are_refused_in_a_sentence(model, tmp_path, change):
    write(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has a quantization_config of another kind"):
        read_language_config(tmp_path, "student")
