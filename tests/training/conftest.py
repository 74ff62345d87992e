"""A toy fit with the project's contracts: a two-layer network, an objective with draws, an endless sized stream."""

import functools
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ldc import randomness
from ldc.data.batch import LatentBatch
from ldc.data.module import StreamDataModule
from ldc.data.order import StreamBatchSampler
from ldc.objectives import Draws, Networks
from ldc.training import DistillationModule, adamw

SIZE = 37  # samples: no multiple of a batch


class ToyNet(nn.Module):
    """The size of a thought: two convolutions and a buffer."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.enter = nn.Conv2d(2, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 2, 3, padding=1)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.leave(torch.tanh(self.enter(x)) * self.scale) * (1 + t.view(-1, 1, 1, 1) / 100)


class ToyObjective(nn.Module):
    """Task, teacher and target terms on noisy latents; draws are a function of the positions."""

    def __init__(self, needs: tuple[str, ...] = ()):
        super().__init__()
        self.needs = needs
        self.seen: list[int] = []  # positions, in the order of training

    def forward(self, networks: Networks, batch: LatentBatch) -> dict[str, torch.Tensor]:
        self.seen += batch.positions.tolist()
        noise = randomness.normal(0, "noise", batch.positions, batch.latents.shape[1:])
        draws = Draws(randomness.integers(0, "timestep", batch.positions, 100), noise)
        x_t = batch.latents + draws.noise
        student = networks.student(x_t, draws.timesteps)
        losses = {"task": (student - noise).square().mean()}
        for name in self.needs:
            with torch.no_grad():
                other = getattr(networks, name)(x_t, draws.timesteps)
            losses[name] = (student - other).square().mean()
        return {"total": torch.stack(list(losses.values())).sum(), **losses}


class Latents(Dataset):
    """Sample i is a constant image of noise; position p holds sample p % SIZE, or NaN at `bad`."""

    size = SIZE

    def __init__(self, bad: int | None = None):
        self.bad = bad

    def __getitem__(self, position: int) -> tuple[int, torch.Tensor]:
        latents = randomness.normal(1, "sample", [position % SIZE], (2, 4, 4))[0]
        return position, latents * (float("nan") if position == self.bad else 1.0)


def collate(samples: list[tuple[int, torch.Tensor]]) -> LatentBatch:
    positions = torch.tensor([position for position, _ in samples])
    latents = torch.stack([latents for _, latents in samples])
    text = torch.zeros(len(samples), 1, 1)
    return LatentBatch(latents, text, text[:1], positions, [f"s{p}" for p in positions.tolist()])


class ToyData(LightningDataModule):
    def __init__(self, num_batches: int, batch_size: int = 4, bad: int | None = None):
        super().__init__()
        self.num_batches, self.batch_size, self.bad = num_batches, batch_size, bad
        self.consumed = 0

    def train_dataloader(self) -> DataLoader:
        sampler = StreamBatchSampler(
            SIZE,
            self.batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            seed=0,
            consumed=self.consumed,
            num_batches=self.num_batches,
        )
        return DataLoader(Latents(self.bad), batch_sampler=sampler, collate_fn=collate)

    def state_dict(self) -> dict[str, Any]:
        return {"consumed": self.trainer.lightning_module.samples_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.consumed = state_dict["consumed"]


class ToyStream(StreamDataModule):
    """The project's stream over the same samples: sized by the trainer, and going on anywhere."""

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(Latents(), collate, consumed, finished, num_batches)


@pytest.fixture
def toy_stream() -> type[ToyStream]:
    return ToyStream


@pytest.fixture
def toy_net() -> Any:
    def make(seed: int = 0) -> ToyNet:
        torch.manual_seed(seed)
        return ToyNet()

    return make


@pytest.fixture
def toy_data() -> type[ToyData]:
    return ToyData


@pytest.fixture
def toy_module(toy_net: Any) -> Any:
    def make(needs: tuple[str, ...] = (), **options: Any) -> DistillationModule:
        options.setdefault("optimizer", functools.partial(adamw, lr=1e-2))
        teacher = toy_net(seed=1) if "teacher" in needs else None
        target_decay = 0.9 if "target" in needs else None
        options = {"target_decay": target_decay, **options}
        return DistillationModule(ToyObjective(needs), toy_net(), teacher, **options)

    return make
