import pytest
import torch
from torch import nn

from ldc.diffusion.consistency import guidance_embedding
from ldc.families.taps import Tapped
from ldc.objectives import ConsistencyDistillation, Draws, Networks

KEYS = {"l2": "l2", "huber": "huber_c1e3"}


@pytest.fixture(scope="module")
def student(tiny_nets):
    """A teacher-shaped student with the closed-form weights, its guidance projection among them."""
    return tiny_nets.filled({**tiny_nets.config, "time_cond_proj_dim": 32})


@pytest.fixture(scope="module")
def target(student, tiny_nets):
    network = tiny_nets.filled({**tiny_nets.config, "time_cond_proj_dim": 32}).requires_grad_(False)
    for average, online in zip(network.parameters(), student.parameters(), strict=True):
        average.copy_(0.95 * online.detach() + 0.05 * (online.detach() + 0.01))
    return network


@pytest.fixture(scope="module")
def inputs(tiny_nets):
    w = torch.tensor([5.0, 7.5, 14.0], dtype=torch.float64)
    draws = Draws(torch.tensor([19, 359, 999]), tiny_nets.wave((3, 4, 16, 16), 1.7, 1.1), w)
    batch = tiny_nets.batch_of(3)
    return batch._replace(empty_text=tiny_nets.wave((3, 7, 16), 4.1)), draws


def objective_for(tiny_nets, prediction_type="epsilon", **options):
    options = {"guidance_embedding_dim": 32, **options}
    return ConsistencyDistillation(tiny_nets.process(prediction_type), **options)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("loss", ["l2", "huber"])
def test_loss_equals_the_published_trainers(prediction_type, loss, golden, student, teacher, target, tiny_nets, inputs):
    objective = objective_for(tiny_nets, prediction_type, loss=loss)
    with torch.no_grad():
        losses = objective.losses(Networks(student, teacher, target), *inputs)
    expected = golden["lcm"][prediction_type][KEYS[loss]]
    assert losses["total"].item() == losses["consistency"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_online_answer_teacher_step_and_target_are_the_published_ones(
    prediction_type, golden, student, teacher, target, tiny_nets, inputs
):
    expected, (batch, draws) = golden["lcm"][prediction_type], inputs
    objective = objective_for(tiny_nets, prediction_type)
    x_t = objective.process.noisy(batch.latents, draws.noise, draws.timesteps)
    with torch.no_grad():
        x_prev = objective.teacher_step(teacher, x_t, batch, draws).x_prev
        online, _ = objective.consistency(student, x_t, draws.timesteps, batch.text, w=draws.guidance)
        end = objective.solver.end(objective.solver.index(draws.timesteps))
        answer, _ = objective.consistency(target, x_prev, end, batch.text, w=draws.guidance)
    assert end.tolist() == [0, 339, 979]
    assert x_prev.abs().sum().item() == pytest.approx(expected["x_prev_abs"], rel=1e-6)
    assert online.abs().sum().item() == pytest.approx(expected["model_pred_abs"], rel=1e-6)
    assert answer.abs().sum().item() == pytest.approx(expected["target_abs"], rel=1e-6)
    assert torch.equal(answer[0], x_prev[0])  # index 0 ends at t = 0, where f is the identity
    assert not torch.equal(answer[1], x_prev[1])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_consistency_function_is_the_identity_at_zero_in_float32(prediction_type, tiny_nets):
    objective = objective_for(tiny_nets, prediction_type, guidance_embedding_dim=None)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    answer, _ = objective.consistency(Scale(3.0), x, torch.zeros(2, dtype=torch.int64), x[:, 0], w=torch.ones(2))
    assert torch.equal(answer, x)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_pruned_student_with_another_config_than_the_teachers_trains(prediction_type, teacher, tiny_nets, inputs):
    student = tiny_nets.pruned("tiny", teacher, time_cond_proj_dim=32)
    objective = objective_for(tiny_nets, prediction_type, loss="huber")
    losses = objective.losses(Networks(student, teacher, student), *inputs)
    losses["total"].backward()
    assert losses["total"].isfinite()
    assert student.time_embedding.cond_proj.weight.grad.abs().max() > 0


def test_student_with_a_zero_guidance_projection_answers_as_the_teacher_for_any_w(teacher, tiny_nets, inputs):
    student = tiny_nets.filled({**tiny_nets.config, "time_cond_proj_dim": 32})
    student.load_state_dict(teacher.state_dict(), strict=False)
    nn.init.zeros_(student.time_embedding.cond_proj.weight)
    batch, draws = inputs
    with_w, _ = objective_for(tiny_nets).consistency(
        student, batch.latents, draws.timesteps, batch.text, w=draws.guidance
    )
    plain = objective_for(tiny_nets, guidance_embedding_dim=None)
    without, _ = plain.consistency(teacher, batch.latents, draws.timesteps, batch.text, w=draws.guidance)
    assert torch.equal(with_w, without)


def test_the_teacher_is_called_once_on_a_doubled_batch(student, teacher, target, tiny_nets, inputs):
    calls = []
    handle = teacher.register_forward_pre_hook(lambda _m, args: calls.append((args, torch.is_grad_enabled())))
    objective_for(tiny_nets).losses(Networks(student, teacher, target), *inputs)
    handle.remove()
    ((x, t, text), grad_enabled), batch = *calls, inputs[0]
    assert not grad_enabled
    assert torch.equal(x[:3], x[3:])
    assert torch.equal(t[:3], t[3:])
    assert torch.equal(text, torch.cat([batch.text, batch.empty_text]))


def test_one_empty_text_serves_the_whole_batch(student, teacher, target, tiny_nets, inputs):
    batch, draws = inputs
    one = batch._replace(empty_text=batch.empty_text[:1])
    repeated = batch._replace(empty_text=batch.empty_text[:1].expand(3, -1, -1))
    objective, networks = objective_for(tiny_nets), Networks(student, teacher, target)
    assert objective.losses(networks, one, draws)["total"] == objective.losses(networks, repeated, draws)["total"]


def test_gradient_flows_only_through_the_online_answer(teacher, tiny_nets, inputs):
    networks = Networks(*(tiny_nets.filled({**tiny_nets.config, "time_cond_proj_dim": d}) for d in (32, None, 32)))
    objective = objective_for(tiny_nets)
    objective.losses(networks, *inputs)["total"].backward()
    assert all(p.grad is None for network in (networks.teacher, networks.target) for p in network.parameters())
    batch, draws = inputs
    x_t = objective.process.noisy(batch.latents, draws.noise, draws.timesteps)
    with torch.no_grad():
        x_prev = objective.teacher_step(networks.teacher, x_t, batch, draws).x_prev
        end = objective.solver.end(objective.solver.index(draws.timesteps))
        fixed, _ = objective.consistency(networks.target, x_prev, end, batch.text, w=draws.guidance)
    online, _ = objective.consistency(networks.student, x_t, draws.timesteps, batch.text, w=draws.guidance)
    weight = networks.student.conv_in.weight
    (expected,) = torch.autograd.grad((online - fixed).square().mean(), weight)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-12, atol=0)


def test_without_a_target_network_the_student_itself_is_the_target(student, teacher, tiny_nets, inputs):
    objective = objective_for(tiny_nets)
    alone = objective.losses(Networks(student, teacher), *inputs)["total"]
    assert alone == objective.losses(Networks(student, teacher, student), *inputs)["total"]
    (gradient,) = torch.autograd.grad(alone, student.conv_in.weight)
    assert gradient.abs().max() > 0


def test_a_student_that_is_its_own_target_gets_gradients_under_autocast(tiny_nets):
    network = Scale(0.5)
    objective = objective_for(tiny_nets, guidance_embedding_dim=None)
    batch = tiny_nets.batch_of(2)
    batch = batch._replace(latents=batch.latents.float(), text=batch.text.float())
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.losses(Networks(network, Scale(0.4)), batch, objective.draw(batch, 0))["total"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert network.mix.weight.grad.abs().max() > 0


def test_teacher_and_target_are_unchanged_by_an_optimizer_step(tiny_nets, inputs):
    networks = Networks(*(tiny_nets.filled({**tiny_nets.config, "time_cond_proj_dim": d}) for d in (32, None, 32)))
    frozen = [network.state_dict() for network in (networks.teacher, networks.target)]
    before = [{key: value.clone() for key, value in state.items()} for state in frozen]
    optimizer = torch.optim.AdamW([p for network in networks for p in network.parameters()])
    objective_for(tiny_nets).losses(networks, *inputs)["total"].backward()
    optimizer.step()
    for now, then in zip(frozen, before, strict=True):
        assert all(torch.equal(value, then[key]) for key, value in now.items())


def test_feature_terms_compare_the_student_with_the_conditional_half_of_the_teacher_pass(teacher, tiny_nets, inputs):
    points = [("down_blocks.0", "down_blocks.0"), ("up_blocks.3", "up_blocks.2")]
    student = tiny_nets.pruned("tiny", teacher, time_cond_proj_dim=32)
    objective = objective_for(tiny_nets, feature_points=points, feature_weight=0.1)
    batch, draws = inputs
    losses = objective.losses(Networks(student, teacher), batch, draws)
    x_t = objective.process.noisy(batch.latents, draws.noise, draws.timesteps)
    tapped = Tapped(teacher, objective.teacher_points)
    _, conditional = tapped(x_t, draws.timesteps, batch.text)
    tapped.remove()
    _, features = objective.consistency(
        student, x_t, draws.timesteps, batch.text, w=draws.guidance, points=objective.student_points
    )
    for in_teacher, point in points:
        expected = (features[point] - conditional[in_teacher]).square().mean()
        torch.testing.assert_close(losses[f"feature/{point}"], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(losses["total"], losses["consistency"] + 0.1 * losses["feature"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_output_term_compares_the_student_with_the_guided_prediction(
    prediction_type, student, teacher, target, tiny_nets, inputs
):
    batch, draws = inputs
    objective = objective_for(tiny_nets, prediction_type, output_weight=0.5)
    losses = objective.losses(Networks(student, teacher, target), batch, draws)
    x_t, t, w = objective.process.noisy(batch.latents, draws.noise, draws.timesteps), draws.timesteps, draws.guidance
    with torch.no_grad():
        conditional = teacher(x_t, t, batch.text).sample
        unconditional = teacher(x_t, t, batch.empty_text.expand_as(batch.text)).sample
        output = student(x_t, t, batch.text, timestep_cond=guidance_embedding(w, 32)).sample
    guided = conditional + w[:, None, None, None] * (conditional - unconditional)
    torch.testing.assert_close(losses["output"], (output - guided).square().mean(), rtol=1e-9, atol=0)
    torch.testing.assert_close(losses["total"], losses["consistency"] + 0.5 * losses["output"], rtol=1e-12, atol=0)


def test_without_its_weight_there_is_no_output_term(student, teacher, target, tiny_nets, inputs):
    assert "output" not in objective_for(tiny_nets).losses(Networks(student, teacher, target), *inputs)


def test_feature_points_of_weight_zero_ask_for_no_taps(tiny_nets):
    assert objective_for(tiny_nets, feature_points=[("mid_block", "mid_block")]).teacher_points == ()


def test_student_whose_embedding_differs_from_the_objectives_is_refused(student, teacher, tiny_nets, inputs):
    with pytest.raises(ValueError, match="guidance_embedding_dim must be the student's 32, not 256"):
        objective_for(tiny_nets, guidance_embedding_dim=256).losses(Networks(student, teacher), *inputs)
    with pytest.raises(ValueError, match="guidance_embedding_dim must be the student's 32, not None"):
        objective_for(tiny_nets, guidance_embedding_dim=None).losses(Networks(student, teacher), *inputs)


@pytest.mark.parametrize("missing", ["networks.teacher", "draws.guidance"])
def test_what_is_missing_is_named(missing, student, teacher, tiny_nets, inputs):
    batch, draws = inputs
    networks = Networks(student, None if missing == "networks.teacher" else teacher)
    draws = draws._replace(guidance=None) if missing == "draws.guidance" else draws
    with pytest.raises(ValueError, match=f"{missing} must be given to this objective, not None"):
        objective_for(tiny_nets).losses(networks, batch, draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "l1"}, "loss must be l2 or huber, not 'l1'"),
        ({"huber_c": 0}, "huber_c must be positive, not 0"),
        ({"guidance_range": (5, 2)}, r"guidance_range must be \(low, high\)"),
        ({"feature_weight": -1}, "feature_weight must be at least 0, not -1"),
        ({"output_weight": -1}, "output_weight must be at least 0, not -1"),
        ({"target": "ema"}, "target must be average or online, not 'ema'"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tiny_nets):
    with pytest.raises(ValueError, match=message):
        objective_for(tiny_nets, **options)


class Scale(nn.Module):
    """A toy network: one 1x1 convolution."""

    def __init__(self, value):
        super().__init__()
        self.mix = nn.Conv2d(4, 4, 1)
        nn.init.constant_(self.mix.weight, value)

    def forward(self, x, _t, _text):
        return self.mix(x)
