"""GGUF files: dequantised once into a plain folder, also out of a wheel."""

import json
import zipfile

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ldc.models.language import LanguageTeacher, check_language_teacher, load_language_teacher, meta_language_model

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
HEADS = {"attn_q": 4, "attn_k": 2}


def interleaved(weight, heads):
    """A head's rows in GGUF's order for rotary positions: the two halves of a head alternate."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path, model):
    """Writes a tiny Llama as GGUF, its linear layers in Q4_1, and a byte-pair tokenizer of single letters."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    tokens = ["<unk>", "<s>", "</s>", *LETTERS, "ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    for add, value in ((writer.add_unk_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)):
        add(value)
    for name, tensor in model.state_dict().items():
        add_tensor(writer, name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer, name, values):
    outer = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    if name in outer:
        writer.add_tensor(f"{outer[name]}.weight", values)
        return
    _, _, index, part = name.removesuffix(".weight").split(".", 3)
    short = NAMES[part]
    if values.ndim == 1:
        writer.add_tensor(f"blk.{index}.{short}.weight", values)
        return
    if short in HEADS:
        values = np.ascontiguousarray(interleaved(values, HEADS[short]))
    packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor(f"blk.{index}.{short}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)


@pytest.fixture
def llama(tiny_llama):
    return tiny_llama(num_hidden_layers=2, num_key_value_heads=2, intermediate_size=96, vocab_size=30)


@pytest.fixture
def file(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("LDC_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "tiny.gguf", llama)
    return tmp_path / "tiny.gguf"


def dequantised(weight):
    packed = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q4_1)
    return torch.from_numpy(gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q4_1))


def test_a_gguf_file_becomes_a_plain_folder_of_its_dequantised_weights(file, llama):
    model, tokenizer, folder = load_language_teacher(LanguageTeacher(str(file)))
    stock = AutoModelForCausalLM.from_pretrained(folder)
    for name, values in llama.state_dict().items():
        expected = dequantised(values) if "_proj" in name else values
        assert torch.equal(model.state_dict()[name], expected), name
        assert torch.equal(stock.state_dict()[name], expected), name
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert str(file.parent) not in json.dumps(config)
    assert tokenizer("abc").input_ids == [29, 5]
    assert tokenizer.bos_token_id == 1


def test_a_gguf_file_is_converted_once_and_anew_when_it_changes(file, tiny_llama):
    first = load_language_teacher(LanguageTeacher(str(file)))
    made = (first.folder / "model.safetensors").stat().st_mtime_ns
    assert (load_language_teacher(LanguageTeacher(str(file))).folder / "model.safetensors").stat().st_mtime_ns == made
    write_gguf(file, tiny_llama(num_hidden_layers=1, num_key_value_heads=2, intermediate_size=96, vocab_size=30))
    assert load_language_teacher(LanguageTeacher(str(file))).folder != first.folder


def test_a_gguf_file_in_a_wheel_is_a_teacher(file, tmp_path):
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.write(file, "tiny/tiny.gguf")
    teacher = LanguageTeacher(f"{tmp_path}/tiny-1.0-py3-none-any.whl/tiny/tiny.gguf", quantised="Q4_1")
    check_language_teacher(teacher)
    assert not (tmp_path / "cache").exists()
    model = load_language_teacher(teacher).model
    assert model.config.num_hidden_layers == 2


def test_the_shape_of_a_gguf_file_is_told_without_converting_it(file, tmp_path):
    teacher = LanguageTeacher(str(file))
    meta = meta_language_model(teacher)
    assert not (tmp_path / "cache").exists()
    model = load_language_teacher(teacher).model
    assert {n: t.shape for n, t in meta.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize("content", [b"", b"no GGUF", b"GGUF and then nothing"])
def test_a_damaged_file_is_one_sentence_and_leaves_nothing_in_the_cache(file, tmp_path, content):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^teacher must be a GGUF file.*[^.]\.$"):
        load_language_teacher(LanguageTeacher(str(file)))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
