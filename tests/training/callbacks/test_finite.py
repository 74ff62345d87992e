import functools

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training import NonFiniteError, adamw, fit
from ldc.training.callbacks.finite import finite_samples


class WeightsAtBatchStart(Callback):
    """Notes the student's weights before each batch."""

    def __init__(self):
        self.weights = []

    def on_train_batch_start(self, _, pl_module, *__):
        self.weights.append(pl_module.bare_student.enter.weight.detach().clone())


def run(toy_module, toy_data, folder, *, bad, fused=True, **options):
    optimizer = functools.partial(adamw, lr=1e-2, fused=fused)
    module, spy = toy_module(("teacher",), optimizer=optimizer), WeightsAtBatchStart()
    with pytest.raises(NonFiniteError) as error:
        fit(module, toy_data(6, bad=bad), folder=folder, max_steps=3, callbacks=[spy], accelerator="cpu", **options)
    return module, spy.weights, str(error.value)


@pytest.mark.parametrize("fused", [True, False])
def test_a_nan_sample_stops_the_run_and_leaves_the_weights_alone(toy_module, toy_data, tmp_path, fused):
    module, weights, message = run(toy_module, toy_data, tmp_path, bad=6, fused=fused)

    assert message == (
        "Losses and gradients must be finite, but at step 2 total, task, teacher were not;"
        " samples with non-finite inputs: s6."
    )
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], module.bare_student.enter.weight)
    assert all(torch.isfinite(p).all() for p in module.bare_student.parameters())


def test_a_fused_step_is_masked_and_the_run_stops_one_step_later(toy_module, toy_data, tmp_path):
    _, weights, message = run(toy_module, toy_data, tmp_path, bad=0)

    assert "at step 1" in message
    assert len(weights) == 2
    assert torch.equal(weights[0], weights[1])


def test_a_nan_in_the_first_of_two_micro_batches_is_named(toy_module, toy_data, tmp_path):
    module, weights, message = run(toy_module, toy_data, tmp_path, bad=9, accumulate_grad_batches=2)

    assert "at step 2" in message
    assert message.endswith("samples with non-finite inputs: s9.")
    assert torch.equal(weights[2], module.bare_student.enter.weight)


def test_a_nan_in_the_last_step_is_not_saved(toy_module, toy_data, tmp_path):
    _, _, message = run(toy_module, toy_data, tmp_path, bad=11, checkpoint_every_n_steps=1)

    assert "at step 3" in message
    assert torch.load(tmp_path / "checkpoints/step-00000002/state.ckpt", weights_only=True)["global_step"] == 2


def test_a_gradient_that_overflows_is_named_with_the_batch(toy_module, toy_data, tmp_path):
    module = toy_module()
    module.bare_student.enter.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = module.bare_student.enter.weight.detach().clone()

    with pytest.raises(
        NonFiniteError, match=r"at step 1 the gradients were not; samples in the batch: s0, s1, s2, s3\."
    ):
        fit(module, toy_data(3), folder=tmp_path, max_steps=3, accelerator="cpu")
    assert torch.equal(before, module.bare_student.enter.weight)


def test_a_batch_without_such_inputs_is_told_of_on_the_device_of_the_losses():
    finite = finite_samples((torch.arange(2),), ["s0", "s1"], torch.device("meta"))
    assert (finite.shape, finite.dtype, finite.device.type) == ((2,), torch.bool, "meta")
