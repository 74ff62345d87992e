"""A fit goes on with another division of the same batch: other ranks, other micro-batches, other loader processes."""

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training import Interrupted, fit, loggers
from ldc.training.checkpoints import newest
from ldc.training.csv_log import read

GLOBAL_BATCH = 4


class Positions(Callback):
    """Appends the positions of each micro-batch to a file of its rank."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, _module, batch, *_):
        with (self.folder / f"step-{trainer.global_step}-of-{trainer.global_rank}.txt").open("a") as file:
            file.write(" ".join(map(str, batch.positions.tolist())) + "\n")


class StopAfter(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise Interrupted(143)


def train(toy_module, toy_stream, folder, ranks, accumulate, *, stop=None, workers=0, steps=6):
    folder.mkdir(exist_ok=True)
    batch_size = GLOBAL_BATCH // ranks // accumulate
    fit(
        toy_module(("teacher", "target")),
        toy_stream(batch_size, seed=0, num_workers=workers),
        folder=folder,
        max_steps=steps,
        log_every_n_steps=1,
        checkpoint_every_n_steps=1,
        loggers=loggers(["csv"], folder, "toy"),
        callbacks=[Positions(folder), *([StopAfter(stop)] if stop else [])],
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        devices=ranks,
        strategy="ddp_fork" if ranks > 1 else "auto",
        progress=False,
    )


def positions(folder, step):
    """Returns the positions that all ranks took in a step, in the stream's order."""
    texts = [path.read_text() for path in folder.glob(f"step-{step}-of-*.txt")]
    return sorted(int(word) for text in texts for word in text.split())


def losses(folder):
    return [float(row["train/total"]) for row in read(folder / "metrics.csv")]


@pytest.mark.parametrize(("first", "then"), [((1, 1), (1, 2)), ((1, 4), (1, 1)), ((1, 2), (1, 4))])
def test_a_fit_goes_on_with_other_micro_batches(toy_module, toy_stream, tmp_path, first, then):
    train(toy_module, toy_stream, tmp_path / "straight", 1, 1)
    # The stop comes before the step's checkpoint: two steps are saved.
    with pytest.raises(Interrupted):
        train(toy_module, toy_stream, tmp_path / "moved", *first, stop=3)
    train(toy_module, toy_stream, tmp_path / "moved", *then)

    assert losses(tmp_path / "moved") == pytest.approx(losses(tmp_path / "straight"), rel=1e-5)
    assert [positions(tmp_path / "straight", step) for step in range(6)] == [
        list(range(4 * step, 4 * step + 4)) for step in range(6)
    ]
    assert [positions(tmp_path / "moved", step) for step in range(3, 6)] == [
        positions(tmp_path / "straight", step) for step in range(3, 6)
    ]


def test_four_ranks_two_ranks_and_one_take_the_same_steps(toy_module, toy_stream, tmp_path):
    train(toy_module, toy_stream, tmp_path / "straight", 1, 1)
    train(toy_module, toy_stream, tmp_path / "moved", 4, 1, steps=2)
    train(toy_module, toy_stream, tmp_path / "moved", 2, 2, steps=4, workers=2)
    train(toy_module, toy_stream, tmp_path / "moved", 1, 2, steps=6)

    assert [positions(tmp_path / "moved", step) for step in range(6)] == [
        positions(tmp_path / "straight", step) for step in range(6)
    ]
    assert losses(tmp_path / "moved") == pytest.approx(losses(tmp_path / "straight"), rel=1e-4)
    straight, moved = (state(tmp_path / name) for name in ("straight", "moved"))
    torch.testing.assert_close(moved, straight, rtol=1e-4, atol=1e-5)


def state(folder):
    return torch.load(newest(folder) / "state.ckpt", weights_only=True)["state_dict"]
