"""Language students: bit-equal in stock transformers, plans where nothing stock describes them, found and refused."""

import json

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ldc import artifacts
from ldc.models.language import (
    LANGUAGE_KIND,
    LanguageTeacher,
    build_language_student,
    find_language_student,
    initialised_from_teacher,
    is_language_model,
    load_language_student,
    load_language_teacher,
    save_language_student,
)
from ldc.surgery import Keep, Plan, Slice

DEPTH = Plan([Keep("model.layers", (0, 2, 3))])
GATE, UP, DOWN = (f"model.layers.1.mlp.{name}_proj" for name in ("gate", "up", "down"))
HALF = tuple(range(0, 172, 2))
WIDTH = Plan([Slice(GATE, HALF, None), Slice(UP, HALF, None), Slice(DOWN, None, HALF, bias=True)])
IDS = torch.arange(3, 27).reshape(2, 12)


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def teacher(save_llama):
    return load_language_teacher(LanguageTeacher(str(save_llama(num_key_value_heads=2, tie_word_embeddings=True))))


@pytest.fixture
def wide(teacher, tmp_path):
    """A student that lost channels, whose new bias is not zero, and its folder."""
    student = build_language_student(teacher.model, WIDTH)
    with torch.no_grad():
        student.get_submodule(DOWN).bias.normal_()
    return student, save_language_student(tmp_path / "wide", student, WIDTH, teacher.tokenizer)


def test_building_a_student_leaves_the_teacher_as_it_was(teacher, tiny_llama):
    student = build_language_student(teacher.model, DEPTH)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert equal(teacher.model, tiny_llama(num_hidden_layers=4, num_key_value_heads=2, tie_word_embeddings=True))
    assert len(teacher.model.model.layers) == teacher.model.config.num_hidden_layers == 4
    assert [block.self_attn.layer_idx for block in teacher.model.model.layers] == [0, 1, 2, 3]
    assert student.lm_head.weight is student.model.embed_tokens.weight


@pytest.mark.parametrize("plan", [DEPTH, WIDTH])
def test_every_tensor_of_a_student_but_a_new_bias_is_cut_from_the_teachers(teacher, plan):
    student = build_language_student(teacher.model, plan)
    new = int(plan is WIDTH)
    assert initialised_from_teacher(student, teacher.model, plan) == len(student.state_dict()) - new
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_a_student_without_blocks_is_bit_equal_in_stock_transformers(teacher, tmp_path):
    student = build_language_student(teacher.model, DEPTH)
    folder = save_language_student(tmp_path / "student", student, DEPTH, teacher.tokenizer)
    stock, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert type(stock).__name__ == "LlamaForCausalLM"
    assert equal(stock, student)
    assert torch.equal(logits(stock), logits(student))
    assert AutoTokenizer.from_pretrained(folder)("ab").input_ids == [68, 69]
    assert (folder / "generation_config.json").is_file()
    assert Plan.load(folder / "plan.json") == DEPTH
    assert equal(load_language_student(folder).model, student)


@pytest.mark.parametrize("plan", [DEPTH, WIDTH])
def test_a_students_folder_names_no_folder_of_the_machine(teacher, tmp_path, plan):
    folder = save_language_student(
        tmp_path / "student", build_language_student(teacher.model, plan), plan, teacher.tokenizer
    )
    assert not [path.name for path in folder.glob("*.json") if str(tmp_path) in path.read_text()]


def test_a_student_without_channels_comes_back_bit_equal(wide):
    student, folder = wide
    loaded = load_language_student(folder)
    assert equal(loaded.model, student)
    assert torch.equal(logits(loaded.model), logits(student))
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    assert loaded.tokenizer("ab").input_ids == [68, 69]
    assert "lm_head.weight" not in load_file(folder / "student.safetensors")


def test_a_student_whose_blocks_differ_in_heads_generates_alike_with_and_without_the_cache(teacher, tmp_path):
    second = tuple(range(16, 32)), tuple(range(32, 64))  # the second of two groups: a key-value head, its query heads
    path = "model.layers.2.self_attn"
    plan = Plan(
        [
            *WIDTH.edits,
            *(Slice(f"{path}.{name}_proj", second[0], None) for name in "kv"),
            Slice(f"{path}.q_proj", second[1], None),
            Slice(f"{path}.o_proj", None, second[1]),
        ]
    )
    student = build_language_student(teacher.model, plan)
    model = load_language_student(save_language_student(tmp_path / "student", student, plan, None)).model
    texts = [model.generate(IDS, max_new_tokens=12, do_sample=False, use_cache=cache) for cache in (True, False)]
    assert texts[0].shape == (2, 24)
    assert torch.equal(*texts)
    assert torch.equal(logits(model), logits(student))


def test_a_student_without_channels_is_refused_by_stock_transformers(wide):
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForCausalLM.from_pretrained(wide[1])


def test_a_student_without_channels_is_loaded_in_half_precision_with_exact_rotary_frequencies(wide):
    loaded = load_language_student(wide[1], torch.bfloat16).model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert torch.equal(loaded.model.rotary_emb.inv_freq, wide[0].model.rotary_emb.inv_freq)


def test_a_student_that_lost_blocks_and_channels_needs_its_parents_config(teacher, tmp_path):
    plan = Plan([*WIDTH.edits, Keep("model.layers", (0, 1, 3))])
    student = build_language_student(teacher.model, plan)
    with pytest.raises(ValueError, match=r"^parent_config must be given for a student that lost both"):
        save_language_student(tmp_path / "both", student, plan, None)
    folder = save_language_student(tmp_path / "both", student, plan, None, teacher.model.config)
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 4
    loaded = load_language_student(folder)
    assert loaded.tokenizer is None
    assert equal(loaded.model, student)
    assert torch.equal(logits(loaded.model), logits(student))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop(f"{DOWN}.bias"),
        lambda tensors: tensors.update({f"{DOWN}.bias": torch.zeros(3)}),
        lambda tensors: tensors.update({"model.extra": torch.zeros(3)}),
    ],
)
def test_other_tensors_than_the_plans_are_refused(wide, change):
    tensors = load_file(wide[1] / "student.safetensors")
    change(tensors)
    save_file(tensors, wide[1] / "student.safetensors")
    with pytest.raises(ValueError, match=r"exactly the tensors of its config and plan, but .* differs in 1, first"):
        load_language_student(wide[1])


def test_a_student_with_adapters_is_not_saved(teacher, tmp_path):
    student = build_language_student(teacher.model, DEPTH)
    student.add_adapter(LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(ValueError, match=r"^student must be an ordinary model to be saved, .* merged first\.$"):
        save_language_student(tmp_path / "student", student, DEPTH, None)
    assert not (tmp_path / "student").exists()


def test_saving_over_a_student_of_the_other_kind_leaves_no_weights_of_it(wide, teacher):
    folder = wide[1]
    student = build_language_student(teacher.model, DEPTH)
    save_language_student(folder, student, DEPTH, teacher.tokenizer)
    assert [path.name for path in folder.glob("*.safetensors")] == ["model.safetensors"]
    assert equal(load_language_student(folder).model, student)


def test_sampling_settings_that_transformers_would_refuse_to_write_are_kept(teacher, tmp_path):
    student = build_language_student(teacher.model, DEPTH)
    student.generation_config.temperature = 0.9
    folder = save_language_student(tmp_path / "student", student, DEPTH, None)
    written = json.loads((folder / "generation_config.json").read_text())
    assert written["temperature"] == pytest.approx(0.9)
    assert written["do_sample"] is True


def test_a_run_stands_for_its_last_language_student(teacher, tmp_path):
    run = tmp_path / "run"
    student = build_language_student(teacher.model, DEPTH)
    for name, parents in (("b_pruned", ()), ("a_tuned", ("b_pruned",))):
        folder = save_language_student(run / name, student, DEPTH, None)
        artifacts.publish(artifacts.Artifact(folder, LANGUAGE_KIND, name, parents))
    assert find_language_student(run) == run / "a_tuned"
    assert is_language_model(run)
    assert load_language_student(run).folder == run / "a_tuned"


def test_a_folder_without_a_student_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^student must be a transformers folder or a run with .* is neither\.$"):
        load_language_student(tmp_path)
