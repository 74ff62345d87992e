import pytest
import torch
from torch import nn

from ldc.training import Interrupted, fit
from ldc.training.callbacks import NetworkSeed


class StopAfter(NetworkSeed):
    """Stops behind a step, after its checkpoint."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 2:
            raise Interrupted(143)


@pytest.fixture
def train(toy_module, toy_stream, tmp_path):
    def run(name, steps=4, callbacks=(), batch_size=4):
        module = toy_module()
        module.bare_student.leave = nn.Sequential(nn.Dropout(0.5), module.bare_student.leave)
        stream = toy_stream(batch_size, seed=0)
        options = {"checkpoint_every_n_steps": 1, "callbacks": callbacks, "accelerator": "cpu", "progress": False}
        fit(module, stream, folder=tmp_path / name, max_steps=steps, **options)
        return module.bare_student.enter.weight

    return run


def test_dropout_draws_the_same_after_a_resume(train):
    straight = train("straight")
    with pytest.raises(Interrupted):
        train("resumed", callbacks=[StopAfter()])
    torch.manual_seed(123)

    assert torch.equal(train("resumed"), straight)


def test_each_step_draws_numbers_of_its_own(train):
    masks = []

    class Masks(NetworkSeed):
        def on_before_backward(self, *_):
            masks.append(torch.rand(8))

    train("masks", steps=2, callbacks=[Masks()])

    assert not torch.equal(masks[0], masks[1])
