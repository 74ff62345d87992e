import gc
import weakref

import pytest
import torch

from ldc.families.taps import Tapped
from ldc.objectives import BlockDistillation, Denoising, Draws, Networks
from ldc.objectives.base import feature_losses

VARIANTS = ("base", "small", "tiny")
NAMES = {"total": "loss_total", "task": "loss_sd", "output": "loss_kd_output", "feature": "loss_kd_feat"}


def points_of(golden, variant):
    return [(teacher, student) for teacher, student, _, _ in golden["bk"][f"bk_{variant}"]["feats"]]


@pytest.fixture(scope="module")
def inputs(tiny_nets):
    draws = Draws(torch.tensor([37, 801]), tiny_nets.wave((2, 4, 16, 16), 1.7, 1.1))
    return tiny_nets.batch_of(2), draws


def points_gradients(objective, networks, inputs, weight):
    losses = objective.losses(networks, *inputs)
    names = [f"feature/{point}" for point in objective.student_points]
    return {name: torch.autograd.grad(losses[name], weight, retain_graph=True)[0] for name in names}


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_equal_the_official_trainers(variant, golden, teacher, tiny_nets, inputs):
    expected = golden["bk"][f"bk_{variant}"]
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, variant))
    student = tiny_nets.pruned(variant, teacher)
    losses = {k: v.item() for k, v in objective.losses(Networks(student, teacher), *inputs).items()}
    assert sum(p.abs().sum().item() for p in student.parameters()) == pytest.approx(expected["weight_abs_sum"])
    for name, key in NAMES.items():
        assert losses[name] == pytest.approx(expected[key], rel=1e-6), name
    for _, point, _, value in expected["feats"]:
        assert losses[f"feature/{point}"] == pytest.approx(value, rel=1e-6), point


def test_an_unpruned_copy_has_no_distillation_loss_and_the_teachers_task_loss(golden, teacher, tiny_nets, inputs):
    points = [(point, point) for point, _ in points_of(golden, "base")]
    losses = BlockDistillation(tiny_nets.process(), points).losses(Networks(teacher, teacher), *inputs)
    alone = Denoising(tiny_nets.process()).losses(Networks(teacher), *inputs)
    assert losses["output"] == 0
    assert losses["feature"] == 0
    assert losses["task"] == alone["task"] == alone["total"] == losses["total"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_feature_point_sends_a_gradient_also_under_checkpointing(variant, golden, teacher, tiny_nets, inputs):
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, variant))
    student = tiny_nets.pruned(variant, teacher).train()
    weight = student.conv_in.weight
    plain = points_gradients(objective, Networks(student, teacher), inputs, weight)
    student.enable_gradient_checkpointing()
    checkpointed = points_gradients(objective, Networks(student, teacher), inputs, weight)
    assert len(plain) == {"base": 8, "small": 8, "tiny": 6}[variant]
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-9, atol=1e-15)


def test_a_step_leaves_no_hook_and_no_activation_behind(golden, teacher, tiny_nets, inputs):
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, "tiny"))
    student = tiny_nets.pruned("tiny", teacher).train()
    student.enable_gradient_checkpointing()
    seen = []
    handle = student.down_blocks[1].register_forward_hook(lambda _m, _a, output: seen.append(weakref.ref(output[0])))
    objective.losses(Networks(student, teacher), *inputs)["total"].backward()
    handle.remove()
    gc.collect()
    assert seen
    assert all(reference() is None for reference in seen)
    assert not any(module._forward_hooks for net in (student, teacher) for module in net.modules())


def test_taps_made_once_give_the_same_losses_as_taps_made_for_the_call(golden, teacher, tiny_nets, inputs):
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, "tiny"))
    student = tiny_nets.pruned("tiny", teacher)
    plain = objective.losses(Networks(student, teacher), *inputs)
    wrapped = Networks(Tapped(student, objective.student_points), Tapped(teacher, objective.teacher_points))
    tapped = objective.losses(wrapped, *inputs)
    wrapped.teacher.remove()
    assert {name: value.item() for name, value in tapped.items()} == {name: v.item() for name, v in plain.items()}


def test_a_network_tapped_elsewhere_is_refused_by_name(golden, teacher, tiny_nets, inputs):
    objective = BlockDistillation(tiny_nets.process(), [("down_blocks.0", "down_blocks.0")])
    networks = Networks(Tapped(tiny_nets.pruned("base", teacher), ["up_blocks.0"]), teacher)
    with pytest.raises(ValueError, match=r"network must be tapped at down_blocks\.0; down_blocks\.0 is missing"):
        objective.losses(networks, *inputs)


def test_the_total_is_the_weighted_sum_and_each_term_is_reported_raw(golden, teacher, tiny_nets, inputs):
    points = points_of(golden, "tiny")
    student = tiny_nets.pruned("tiny", teacher)
    plain = BlockDistillation(tiny_nets.process(), points).losses(Networks(student, teacher), *inputs)
    objective = BlockDistillation(tiny_nets.process(), points, task_weight=0.5, output_weight=0, feature_weight=0.25)
    losses = objective.losses(Networks(student, teacher), *inputs)
    for name in ("task", "output", "feature", "feature/up_blocks.0"):
        assert losses[name] == plain[name], name
    assert losses["weighted/output"] == 0
    assert losses["weighted/feature/up_blocks.0"] == 0.25 * plain["feature/up_blocks.0"]
    torch.testing.assert_close(losses["total"], 0.5 * plain["task"] + 0.25 * plain["feature"], rtol=1e-12, atol=0)


def test_normalised_features_are_divided_by_the_mean_squared_teacher_feature(golden, teacher, tiny_nets, inputs):
    points = points_of(golden, "tiny")
    student = tiny_nets.pruned("tiny", teacher)
    objective = BlockDistillation(tiny_nets.process(), points, normalise_features=True)
    losses = objective.losses(Networks(student, teacher), *inputs)
    batch, draws = inputs
    x_t = objective.process.noisy(batch.latents, draws.noise, draws.timesteps)
    tapped = Tapped(teacher, objective.teacher_points)
    _, features = tapped(x_t, draws.timesteps, batch.text)
    tapped.remove()
    for in_teacher, point in points:
        relative = losses[f"feature/{point}"] / features[in_teacher].square().mean()
        torch.testing.assert_close(losses[f"weighted/feature/{point}"], relative, rtol=1e-12, atol=0)
    by_point = [losses[f"weighted/feature/{point}"] for _, point in points]
    torch.testing.assert_close(losses["weighted/feature"], sum(by_point), rtol=1e-12, atol=0)


def test_scaling_a_feature_up_does_not_change_its_normalised_loss():
    student, teacher = torch.rand(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    _, small = feature_losses({"s": student}, {"t": teacher}, [("t", "s")], normalise=True)
    _, large = feature_losses({"s": 100 * student}, {"t": 100 * teacher}, [("t", "s")], normalise=True)
    torch.testing.assert_close(small["s"], large["s"])


def test_half_precision_networks_are_compared_in_float32(golden, teacher, tiny_nets):
    student = tiny_nets.pruned("tiny", teacher).to(torch.bfloat16)
    half = tiny_nets.filled(tiny_nets.config).to(torch.bfloat16)
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, "tiny"))
    batch = tiny_nets.batch_of(2)
    batch = batch._replace(latents=batch.latents.bfloat16(), text=batch.text.bfloat16())
    draws = objective.draw(batch, 0)
    losses = objective.losses(Networks(student, half), batch, draws)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert losses["total"].isfinite()


def test_teacher_and_student_see_the_same_inputs_and_the_teacher_takes_no_gradient(teacher, tiny_nets, inputs):
    calls = {}

    def record(name):
        return lambda _m, args: calls.update({name: (args, torch.is_grad_enabled())})

    student = tiny_nets.pruned("tiny", teacher)
    networks = Networks(student, teacher)
    handles = [getattr(networks, name).register_forward_pre_hook(record(name)) for name in ("student", "teacher")]
    BlockDistillation(tiny_nets.process(), []).losses(networks, *inputs)["total"].backward()
    for handle in handles:
        handle.remove()
    assert all(torch.equal(a, b) for a, b in zip(calls["student"][0], calls["teacher"][0], strict=True))
    assert (calls["student"][1], calls["teacher"][1]) == (True, False)


def test_the_teacher_is_unchanged_by_an_optimizer_step(golden, tiny_nets, inputs):
    teacher = tiny_nets.filled(tiny_nets.config)  # trainable on purpose: only no_grad protects it
    student = tiny_nets.pruned("tiny", teacher)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizer = torch.optim.AdamW([*student.parameters(), *teacher.parameters()])
    objective = BlockDistillation(tiny_nets.process(), points_of(golden, "tiny"))
    objective.losses(Networks(student, teacher), *inputs)["total"].backward()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not torch.equal(student.conv_in.weight, before["conv_in.weight"])


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, -1, 1)])
def test_weights_that_make_no_loss_are_refused(weights, tiny_nets):
    with pytest.raises(ValueError, match="loss weights must be at least 0 and not all 0"):
        BlockDistillation(tiny_nets.process(), [], *weights)
