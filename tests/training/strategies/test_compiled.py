"""Compiled networks train alike under the strategies that take part in their forward pass."""

import functools

import pytest
import torch
from torch import nn

from ldc.training import DistillationModule, adamw, fit, loggers
from ldc.training.csv_log import read
from tests.training.conftest import ToyData, ToyNet, ToyObjective

pytestmark = pytest.mark.integration
NAMES = ("fsdp2", "deepspeed_zero2")
STEPS = 3


class Blocks(ToyNet):
    """The toy network with two layers in a list, which FSDP2 shards on their own."""

    def __init__(self):
        super().__init__(5)
        self.blocks = nn.ModuleList([nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 1)])

    def forward(self, x, t):
        x = torch.tanh(self.enter(x)) * self.scale
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.leave(x) * (1 + t.view(-1, 1, 1, 1) / 100)


def network(seed):
    torch.manual_seed(seed)
    return Blocks()


def train(folder, strategy, ranks, *, compiled):
    module = DistillationModule(
        ToyObjective(("teacher", "target")),
        network(0),
        network(1),
        optimizer=functools.partial(adamw, lr=1e-2),
        target_decay=0.9,
        compile={"backend": "eager"} if compiled else False,  # traced and split as by any backend, without a compiler
    )
    fit(
        module,
        ToyData(STEPS, 4 // ranks),
        folder=folder,
        max_steps=STEPS,
        log_every_n_steps=1,
        loggers=loggers(["csv"], folder, "run"),
        accelerator="cpu",
        devices=ranks,
        strategy=strategy,
        timeout_seconds=60,
        progress=False,
    )


@pytest.fixture(scope="module")
def runs(torchrun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")

    def work(_rank):
        for name in NAMES:
            train(folder / name, name, 2, compiled=True)

    torchrun(work, 2, folder)
    train(folder / "eager", "auto", 1, compiled=False)
    return folder


def losses(folder):
    return torch.tensor([[float(value) for value in row.values()] for row in read(folder / "metrics.csv")])


@pytest.mark.parametrize("name", NAMES)
def test_compiled_and_divided_networks_train_as_one_plain_process(name, runs):
    expected = losses(runs / "eager")
    torch.testing.assert_close(losses(runs / name), expected, rtol=2e-6, atol=1e-6)
    assert len(expected) == STEPS
