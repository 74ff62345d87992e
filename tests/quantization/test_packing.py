import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from ldc.families.llama import settle
from ldc.models.language.packed import unpack
from ldc.quantization import GptqSettings, quantise_model, save_quantised
from ldc.quantization.grid import round_to_nearest
from ldc.quantization.packing import pack
from ldc.surgery import Keep, Plan, apply

SETTINGS = [{}, {"bits": 8}, {"bits": 3, "group_size": "channel"}, {"group_size": 32, "act_order": False}]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_what_is_packed_is_unpacked_exactly(bits, symmetric):
    weight = torch.randn(24, 48, generator=torch.Generator().manual_seed(0))
    layer = round_to_nearest(weight, bits, 16, symmetric=symmetric)
    assert torch.equal(unpack(pack(layer, bits, symmetric=symmetric), bits), layer.dequantised())


def test_four_bits_take_half_a_byte():
    layer = round_to_nearest(torch.randn(24, 64), 4, 64)
    assert pack(layer, 4, symmetric=True)["weight_packed"].nbytes == 24 * 64 // 2


def saved(folder, model, ids, **settings):
    """Quantises and saves; returns the logits that were measured."""
    quantised = quantise_model(model, ids, GptqSettings(**settings))
    save_quantised(folder, model, quantised, GptqSettings(**settings))
    return model(ids).logits


def stock(folder):
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds

    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values())
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_stock_transformers_loads_exactly_what_was_measured(small_llama, ids, tmp_path, settings, tied):
    measured = saved(tmp_path, small_llama(tie_word_embeddings=tied), ids, **settings)
    with torch.no_grad():
        assert torch.equal(stock(tmp_path)(ids).logits, measured)


def test_biases_of_the_projections_are_kept(ids, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM  # noqa: PLC0415 - costs seconds

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, num_attention_heads=4, num_key_value_heads=2)).eval()
    torch.nn.init.normal_(model.model.layers[1].self_attn.q_proj.bias)
    measured = saved(tmp_path, model.requires_grad_(requires_grad=False), ids)
    with torch.no_grad():
        assert torch.equal(stock(tmp_path)(ids).logits, measured)


def test_a_folder_never_holds_the_weights_of_two(small_llama, ids, tmp_path):
    for name in ("student.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (tmp_path / name).touch()
    saved(tmp_path, small_llama(), ids)
    assert [path.name for path in tmp_path.glob("*safetensors*")] == ["model.safetensors"]


def test_cached_generation_equals_uncached(small_llama, ids, tmp_path):
    saved(tmp_path, small_llama(), ids)
    model = stock(tmp_path)
    texts = [model.generate(ids[:2, :6], max_new_tokens=12, do_sample=False, use_cache=u) for u in (True, False)]
    assert texts[0].shape == (2, 18)
    assert torch.equal(*texts)


def test_a_depth_pruned_student_keeps_its_plan_and_its_number_of_blocks(small_llama, ids, tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir()
    plan = Plan([Keep("model.layers", (0, 2))])
    plan.save(parent / "plan.json")
    student = apply(small_llama(), plan, settle)
    quantised = quantise_model(student, ids, GptqSettings())
    save_quantised(tmp_path / "student", student, quantised, GptqSettings(), parent=parent)
    assert Plan.load(tmp_path / "student" / "plan.json").fingerprint == plan.fingerprint
    with torch.no_grad():
        assert torch.equal(stock(tmp_path / "student")(ids).logits, student(ids).logits)


def test_only_what_is_not_quantised_is_saved_as_floats(small_llama, ids, tmp_path):
    saved(tmp_path, small_llama(tie_word_embeddings=True), ids)
    tensors = load_file(tmp_path / "model.safetensors")
    floats = {name for name, tensor in tensors.items() if tensor.is_floating_point() and "weight_scale" not in name}
    assert all("norm" in name or name == "model.embed_tokens.weight" for name in floats)
    assert all(tensors[name].dtype == torch.float16 for name in floats)
    kinds = Counter(name.rpartition(".")[2] for name in tensors.keys() - floats)
    assert kinds == {"weight_packed": 21, "weight_scale": 21, "weight_shape": 21}


def test_the_config_names_no_folder_of_this_machine(small_llama, ids, tmp_path):
    saved(tmp_path, small_llama(), ids)
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert config["quantization_config"]["ignore"] == ["lm_head"]


def test_a_model_whose_channels_were_cut_is_refused_in_a_sentence(small_llama, ids, tmp_path):
    model = small_llama()
    mlp = model.model.layers[0].mlp
    mlp.gate_proj, mlp.up_proj = torch.nn.Linear(64, 128, bias=False), torch.nn.Linear(64, 128, bias=False)
    mlp.down_proj = torch.nn.Linear(128, 64, bias=False)
    quantised = quantise_model(model.requires_grad_(requires_grad=False), ids, GptqSettings())
    with pytest.raises(ValueError, match="its channels were cut"):
        save_quantised(tmp_path / "no", model, quantised, GptqSettings())
    assert not (tmp_path / "no").exists()
