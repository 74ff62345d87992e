"""Students against their teacher: initialisation (bksdm A5), guidance projection (lcm B9, B10), finding the folder."""

import copy
import json
import os

import pytest
import torch

from ldc import artifacts
from ldc.families import stock_config
from ldc.models import (
    Guidance,
    Teacher,
    build_random_student,
    build_student,
    find_student,
    initialised_from_teacher,
    load_student,
    meta_unet,
    save_student,
)
from ldc.profiling import params
from ldc.pruning import BlockRemoval
from ldc.surgery import Plan, Slice, key_map

TENSORS = {"base": 442, "small": 396, "tiny": 358}


def forward(unet, **inputs):
    seed = torch.Generator().manual_seed(3)
    sample, text = torch.randn(2, 8, 16, 16, generator=seed), torch.randn(2, 12, 16, generator=seed)
    with torch.no_grad():
        return unet(sample, torch.tensor([5, 800]), text, return_dict=False, **inputs)[0]


def equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def publish(folder, name, parents=(), kind="student", guidance=None):
    artifacts.publish(artifacts.Artifact(folder, kind, name, parents, guidance=guidance))
    return folder


@pytest.mark.parametrize("variant", TENSORS)
def test_every_tensor_of_a_student_is_bit_equal_to_the_teachers(toy_parts, variant):
    plan = BlockRemoval(variant).plan(toy_parts.unet)
    student = build_student(toy_parts.unet, plan)
    ours, theirs, names = student.state_dict(), toy_parts.unet.state_dict(), key_map(toy_parts.unet, plan)
    assert all(torch.equal(ours[name], theirs[names[name]]) for name in ours)
    assert len(ours) == initialised_from_teacher(student, toy_parts.unet, plan) == TENSORS[variant]


def test_a_random_student_has_the_shape_of_a_pruned_one_and_none_of_its_weights(toy_parts):
    student = build_student(toy_parts.unet, BlockRemoval("tiny").plan(toy_parts.unet))
    before = torch.get_rng_state()
    random = build_random_student(student, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: value.shape for name, value in random.state_dict().items()} == {
        name: value.shape for name, value in student.state_dict().items()
    }
    assert not torch.equal(random.conv_in.weight, student.conv_in.weight)
    assert equal(random, build_random_student(student, seed=1))
    assert not equal(random, build_random_student(student, seed=2))
    assert all(parameter.requires_grad for parameter in random.parameters())


def test_tensors_that_changed_are_not_counted_as_the_teachers(toy_parts):
    plan = BlockRemoval("tiny").plan(toy_parts.unet)
    student = build_student(toy_parts.unet, plan)
    with torch.no_grad():
        student.conv_in.weight.add_(1)
    assert initialised_from_teacher(student, toy_parts.unet, plan) == 357


def test_a_sliced_tensor_counts_as_the_teachers_and_an_added_bias_does_not(toy_parts):
    unet = toy_parts.unet
    path = next(name for name, _ in unet.named_modules() if name.endswith("attn1"))
    kept = range(1, unet.get_submodule(f"{path}.to_v").out_features)
    plan = Plan([Slice(f"{path}.to_v", kept, bias=True), Slice(f"{path}.to_out.0", None, kept)])
    student = build_student(unet, plan)
    assert initialised_from_teacher(student, unet, plan) == len(unet.state_dict()) == len(student.state_dict()) - 1


def test_building_and_changing_a_student_leaves_the_teacher_alone(toy_parts):
    before = copy.deepcopy(toy_parts.unet)
    student = build_student(toy_parts.unet, BlockRemoval("tiny").plan(toy_parts.unet), 32)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    assert equal(toy_parts.unet, before)
    assert dict(toy_parts.unet.config) == dict(before.config)


def test_a_student_is_trainable_and_its_teacher_stays_frozen(toy_parts):
    student = build_student(toy_parts.unet, Plan())
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not any(parameter.requires_grad for parameter in toy_parts.unet.parameters())


def test_a_student_of_the_empty_plan_answers_as_its_teacher(toy_parts):
    assert torch.equal(forward(build_student(toy_parts.unet, Plan())), forward(toy_parts.unet))


@pytest.mark.parametrize("scale", [0.0, 1.0, 40.0])
def test_a_fresh_guidance_projection_changes_nothing_for_any_guidance(toy_parts, scale):
    student = build_student(toy_parts.unet, Plan(), time_cond_proj_dim=32)
    embedding = scale * torch.randn(2, 32, generator=torch.Generator().manual_seed(4))
    assert torch.equal(forward(student, timestep_cond=embedding), forward(toy_parts.unet))


def test_a_guidance_projection_stands_in_the_stock_config(toy_parts):
    student = build_student(toy_parts.unet, BlockRemoval("tiny").plan(toy_parts.unet), 32)
    assert stock_config(student)["time_cond_proj_dim"] == 32


@pytest.mark.parametrize(("variant", "total"), [("none", 859_602_884), ("tiny", 323_466_884)])
def test_the_guidance_projection_of_stable_diffusion_has_81920_parameters(variant, total):
    teacher = meta_unet(Teacher("sd14", architecture="sd14"))
    plan = BlockRemoval(variant).plan(teacher)
    student = build_student(teacher, plan, 256)
    assert params(student) == total == params(build_student(teacher, plan)) + 81_920
    assert initialised_from_teacher(student, teacher, plan) == len(student.state_dict()) - 1


def test_a_guidance_projection_of_another_width_is_refused(toy_parts):
    guided = build_student(toy_parts.unet, Plan(), 32)
    with pytest.raises(ValueError, match="time_cond_proj_dim must be 32, as the teacher already has it, not 64"):
        build_student(guided, Plan(), 64)


def test_a_guided_teacher_gives_its_projection_to_the_student(toy_parts):
    guided = build_student(toy_parts.unet, Plan(), 32)
    torch.nn.init.ones_(guided.time_embedding.cond_proj.weight)
    assert equal(build_student(guided, Plan(), 32), guided)


def test_guidance_comes_from_the_artifact(toy_parts, teacher_folder, tmp_path):
    folder = save_student(tmp_path, toy_parts.unet, Plan(), load_student(teacher_folder))
    publish(folder, "a", guidance={"convention": "embedded", "default": 3.0, "range": [1.5, 5.0]})
    assert load_student(folder).guidance == Guidance("embedded", 3.0, (1.5, 5.0))


def test_a_plain_pipeline_folder_is_guided_by_two_passes(teacher_folder):
    assert load_student(str(teacher_folder)).guidance.convention == "cfg"


def test_a_folder_with_a_guidance_projection_is_guided_by_its_embedding(toy_parts, tmp_path):
    student = build_student(toy_parts.unet, Plan(), 32)
    assert load_student(save_student(tmp_path, student, Plan(), toy_parts)).guidance.convention == "embedded"


def stage(run, name):
    folder = run / name
    (folder / "unet").mkdir(parents=True)
    return folder


def test_a_run_stands_for_the_student_from_which_no_other_was_made(tmp_path):
    last = publish(stage(tmp_path, "fewstep"), "c", parents=["b"])
    publish(stage(tmp_path, "distil"), "b", parents=["a"])
    publish(stage(tmp_path, "prune"), "a")
    publish(stage(tmp_path, "evaluate"), "d", parents=["c"], kind="evaluation")
    assert find_student(tmp_path) == last


def test_of_two_branches_of_a_run_the_youngest_student_counts(tmp_path):
    old, young = publish(stage(tmp_path, "b"), "x"), publish(stage(tmp_path, "a"), "y")
    os.utime(old / artifacts.FILE, ns=(1, 1))
    assert find_student(tmp_path) == young


def test_a_run_without_a_finished_student_is_refused(tmp_path):
    stage(tmp_path, "distil")
    with pytest.raises(ValueError, match="must be a pipeline folder or a run with a finished student"):
        find_student(tmp_path)


@pytest.mark.parametrize("path", ["/no/such/folder", "./none", "a/b/c", "no-such-hub-id"])
def test_a_student_that_is_nowhere_is_refused(path):
    with pytest.raises(ValueError, match=f"^student must be an existing folder or a hub id.*{path!r}"):
        load_student(path)


def test_a_student_whose_weights_lack_tensors_is_refused(toy_parts, teacher_folder, tmp_path):
    folder = save_student(tmp_path, toy_parts.unet, Plan(), load_student(teacher_folder))
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"time_cond_proj_dim": 32}))
    with pytest.raises(ValueError, match=r"lacks 1, first 'time_embedding.cond_proj.weight'"):
        load_student(folder)


def test_weights_of_other_shapes_than_the_configs_are_refused_in_one_sentence(toy_parts, teacher_folder, tmp_path):
    folder = save_student(tmp_path, toy_parts.unet, Plan(), load_student(teacher_folder))
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"block_out_channels": [2 * n for n in config["block_out_channels"]]}))
    with pytest.raises(ValueError, match=r"^student must have the unet of its config, but in ") as caught:
        load_student(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert "low_cpu_mem_usage" not in str(caught.value)
