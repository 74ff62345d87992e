import copy
import functools

import pytest
import torch

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.diffusion.process import Process
from ldc.objectives import BlockDistillation
from ldc.training import DistillationModule, adamw, fit
from tests.training.unets import small_unet

ALL = ("teacher", "target")


def test_the_checkpoint_has_student_and_target_but_no_teacher(toy_module, toy_data, tmp_path):
    module = toy_module(ALL)
    fit(module, toy_data(1), folder=tmp_path, max_steps=1, accelerator="cpu")

    keys = torch.load(tmp_path / "checkpoints/step-00000001/state.ckpt", weights_only=True)["state_dict"].keys()
    student = module.bare_student.state_dict()
    assert set(keys) == {f"{network}.{key}" for network in ("student", "target") for key in student}


@pytest.mark.parametrize("network", ["student", "target"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused(toy_module, network):
    module = toy_module(ALL)
    state = module.state_dict()
    del state[f"{network}.leave.bias"]

    with pytest.raises(ValueError, match=f"but 1 are missing, the first '{network}.leave.bias'"):
        module.load_state_dict(state, strict=False)


def test_a_checkpoint_of_another_network_is_refused(toy_module):
    module = toy_module()
    with pytest.raises(ValueError, match=r"but 1 are unknown, the first 'student.extra'"):
        module.load_state_dict({**module.state_dict(), "student.extra": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"student.leave.bias must have shape \(2,\), not \(3,\)"):
        module.load_state_dict({**module.state_dict(), "student.leave.bias": torch.zeros(3)})


def test_the_teacher_is_unchanged_after_steps_and_takes_no_gradient(toy_module, toy_data, tmp_path):
    module = toy_module(ALL)
    before = copy.deepcopy(module.teacher.state_dict())
    fit(module, toy_data(3), folder=tmp_path, max_steps=3, accelerator="cpu")

    for name, value in module.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None and not p.requires_grad for p in module.teacher.parameters())
    assert not module.teacher.training


def test_the_target_moves_by_one_minus_mu_and_leaves_buffers_alone(toy_module):
    module = toy_module(ALL, target_decay=0.95)
    module.double()
    theta_minus = copy.deepcopy(module.target.state_dict())
    with torch.no_grad():
        for p in module.bare_student.parameters():
            p.add_(torch.randn_like(p))
        module.bare_student.scale.fill_(7)

    module.update_target()

    for name, p in module.target.named_parameters():
        expected = 0.95 * theta_minus[name] + 0.05 * dict(module.bare_student.named_parameters())[name]
        torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-15)
        assert not p.requires_grad
        assert p.grad is None
    assert torch.equal(module.target.scale, theta_minus["scale"])


def test_the_target_is_updated_once_in_each_optimizer_step(toy_module, toy_data, tmp_path):
    module = toy_module(ALL, target_decay=0.5, optimizer=functools.partial(adamw, lr=1e-2, weight_decay=0.0))
    start = module.bare_student.enter.weight.detach().clone()
    fit(module, toy_data(2), folder=tmp_path, max_steps=1, accumulate_grad_batches=2, accelerator="cpu")

    moved = module.bare_student.enter.weight.detach()
    torch.testing.assert_close(module.target.enter.weight.detach(), (start + moved) / 2)


def test_an_objective_without_its_networks_is_refused(toy_module, toy_net):
    objective = toy_module(ALL).objective
    optimizer = functools.partial(adamw, lr=1e-2)
    with pytest.raises(ValueError, match="teacher must be given for ToyObjective, not None"):
        DistillationModule(objective, toy_net(), optimizer=optimizer)
    with pytest.raises(ValueError, match="target_decay must be given for ToyObjective, not None"):
        DistillationModule(objective, toy_net(), toy_net(1), optimizer=optimizer)


def test_pixels_are_encoded_after_the_transfer_and_latents_pass(toy_module):
    latents = LatentBatch(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1), ["a"])
    pixels = ImageTextBatch(torch.zeros(1, 3, 8, 8), None, ["text"], torch.zeros(1), ["a"])

    assert toy_module().on_after_batch_transfer(latents, 0) is latents
    assert toy_module(encode=lambda batch: (latents, batch.captions)).on_after_batch_transfer(pixels, 0) == (
        latents,
        ["text"],
    )
    with pytest.raises(ValueError, match="encode must be given"):
        toy_module().on_after_batch_transfer(pixels, 0)


def test_positions_stay_on_the_host_where_draws_are_made(toy_module):
    batch = LatentBatch(
        torch.zeros(2, 2, 4, 4), torch.zeros(2, 1, 1), torch.zeros(1, 1, 1), torch.tensor([7, 8]), ["a"]
    )
    moved = toy_module().transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.latents.is_meta
    assert moved.positions.tolist() == [7, 8]


def test_the_teacher_is_cast_and_the_student_is_not(toy_module):
    module = toy_module(("teacher",), teacher_dtype="bfloat16", channels_last=True)

    assert module.teacher.enter.weight.dtype == torch.bfloat16
    assert module.bare_student.enter.weight.dtype == torch.float32
    assert module.bare_student.enter.weight.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="teacher_dtype must be float32, bfloat16, float16 or none, not 'int8'"):
        toy_module(("teacher",), teacher_dtype="int8")


def test_gradient_checkpointing_is_refused_where_the_network_has_none(toy_module):
    with pytest.raises(ValueError, match="gradient_checkpointing must be off for ToyNet"):
        toy_module(gradient_checkpointing=True)


def block_distillation(**options) -> tuple[DistillationModule, LatentBatch]:
    process = Process.from_config({"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"})
    objective = BlockDistillation(process, [("down_blocks.0", "down_blocks.0"), ("mid_block", "mid_block")])
    module = DistillationModule(
        objective,
        small_unet(0, channels=4),
        small_unet(1, channels=4),
        optimizer=functools.partial(adamw, lr=1e-3),
        **options,
    )
    generator = torch.Generator().manual_seed(2)
    text = torch.randn(2, 3, 8, generator=generator)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    return module, LatentBatch(latents, text, text[:1], torch.arange(2), ["a", "b"])


def test_taps_do_not_show_in_the_checkpoint_and_checkpointing_changes_no_gradient():
    gradients = []
    for options in ({}, {"gradient_checkpointing": True}, {"channels_last": True}):
        module, batch = block_distillation(**options)
        assert module.state_dict().keys() == {f"student.{key}" for key in small_unet(0, channels=4).state_dict()}
        module.training_step(batch, 0).backward()
        assert {"feature/down_blocks.0", "feature/mid_block"} <= module.losses.keys()
        gradients.append([p.grad for p in module.bare_student.parameters()])
        assert all(g is not None for g in gradients[-1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)


def test_a_teacher_in_half_precision_gives_nearly_the_same_losses():
    module, batch = block_distillation()
    module.training_step(batch, 0)
    half, _ = block_distillation(teacher_dtype="bfloat16")
    half.training_step(batch, 0)

    for name, value in module.losses.items():
        torch.testing.assert_close(half.losses[name], value, rtol=5e-2, atol=1e-3)


@pytest.mark.integration
def test_a_compiled_fit_takes_the_same_steps(toy_module, toy_data, tmp_path):
    nets = []
    for name, compiled in (("eager", False), ("compiled", {"backend": "aot_eager"})):
        module = toy_module(ALL, compile=compiled)
        fit(module, toy_data(2), folder=tmp_path / name, max_steps=2, accelerator="cpu")
        nets.append(module.bare_student.state_dict())
        networks = (module.student, module.teacher, module.target)
        assert [network._compiled_call_impl is not None for network in networks] == [bool(compiled)] * 3
    torch.testing.assert_close(nets[0], nets[1], rtol=1e-4, atol=1e-5)
