"""The data modules under a real Trainer: what an interrupted and resumed fit reads is what a straight one reads."""

import json
import warnings

import pytest
import torch
from lightning.pytorch import Trainer

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.data.encode import encode_shards
from ldc.data.module import ImageTextDataModule, LatentDataModule, StreamingDataModule
from tests.data.recorded_fits import Recorder, SaveAt, fit

SEED = 5
SAMPLES = 10


@pytest.fixture(scope="module")
def tars(tmp_path_factory, write_shard):
    folder = tmp_path_factory.mktemp("shards")
    keys = [f"{number:04d}" for number in range(SAMPLES)]
    return [write_shard(folder / "a.tar", keys[:6]), write_shard(folder / "b.tar", keys[6:])]


@pytest.fixture(scope="module")
def folder(tars, tmp_path_factory, toy_encoders):
    return encode_shards(tars, toy_encoders(), tmp_path_factory.mktemp("out"), size=8, progress=False).folder


@pytest.mark.integration
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_resumed_fit_reads_what_a_straight_fit_reads(folder, tmp_path, num_workers, accumulate):
    def data():
        return LatentDataModule(folder, 3, SEED, caption_dropout=0.5, num_workers=num_workers)

    options = {"accumulate_grad_batches": accumulate}
    straight = fit(data(), 5, **options)
    before = fit(data(), 5, callbacks=[SaveAt(2, tmp_path / "c.ckpt")], **options)
    after = fit(data(), 5, resume=tmp_path / "c.ckpt", **options)
    assert straight.positions == [list(range(start, start + 3)) for start in range(0, 15 * accumulate, 3)]
    assert before.positions + after.positions == straight.positions
    for one, other in zip(before.batches + after.batches, straight.batches, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.text, other.text)


@pytest.mark.integration
def test_resuming_at_every_step_reads_what_a_straight_fit_reads(folder, tmp_path):
    positions, resume = [], None
    for step in range(1, 7):
        save = SaveAt(step, tmp_path / f"{step}.ckpt")
        positions += fit(LatentDataModule(folder, 4, SEED), 6, callbacks=[save], resume=resume).positions
        resume = save.path
    assert positions == [list(range(start, start + 4)) for start in range(0, 24, 4)]


@pytest.mark.integration
def test_a_finished_fit_can_be_made_longer(folder, tmp_path):
    first = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(max_steps=4, accelerator="cpu", devices=1, **options)
        trainer.fit(first, datamodule=LatentDataModule(folder, 3, SEED))
        trainer.save_checkpoint(tmp_path / "end.ckpt")
    longer = fit(LatentDataModule(folder, 3, SEED), 7, resume=tmp_path / "end.ckpt")
    assert first.positions + longer.positions == [list(range(start, start + 3)) for start in range(0, 21, 3)]


@pytest.mark.integration
def test_another_batch_size_continues_at_the_consumed_sample(folder, tmp_path):
    fit(LatentDataModule(folder, 4, SEED), 6, callbacks=[SaveAt(2, tmp_path / "c.ckpt")])
    data = LatentDataModule(folder, 2, SEED)
    after = fit(data, 6, resume=tmp_path / "c.ckpt", accumulate_grad_batches=2)
    assert after.positions == [[start, start + 1] for start in range(8, 24, 2)]
    assert data.consumed == 24


@pytest.mark.integration
def test_two_ranks_continue_the_stream_of_one(folder, tmp_path):
    fit(LatentDataModule(folder, 4, SEED), 6, callbacks=[SaveAt(2, tmp_path / "c.ckpt")])
    fit(
        LatentDataModule(folder, 2, SEED),
        6,
        resume=tmp_path / "c.ckpt",
        module=Recorder(tmp_path),
        devices=2,
        strategy="ddp_fork",
    )
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == [list(range(start, start + 4)) for start in range(8, 24, 4)]


@pytest.mark.integration
def test_lightning_hands_on_the_named_batches(folder, tars):
    cached = fit(LatentDataModule(folder, 3, SEED), 1).batches[0]
    online = fit(ImageTextDataModule(tars, 3, SEED, size=8), 1).batches[0]
    assert isinstance(cached, LatentBatch)
    assert isinstance(online, ImageTextBatch)
    assert online.latents is None
    assert cached.keys == online.keys


@pytest.mark.integration
def test_streaming_resumes_at_the_start_of_a_shard(tars, tmp_path):
    def data():
        return StreamingDataModule(
            [str(tars[0])], 3, SEED, size=8, caption_dropout=0.1, samples_per_shard=6, shuffle_buffer=1
        )

    before = fit(data(), 6, callbacks=[SaveAt(3, tmp_path / "c.ckpt")])
    after = fit(data(), 6, resume=tmp_path / "c.ckpt")
    assert [position for batch in before.positions for position in batch] == list(range(9))
    assert [position for batch in after.positions for position in batch] == list(range(9, 18))
    assert after.batches[0].keys == ["0000", "0001", "0002"]  # read already, before the shard was left
    assert after.batches[0].pixels.shape == (3, 3, 8, 8)


def test_an_endless_stream_needs_a_number_of_steps(folder):
    with pytest.raises(ValueError, match=r"max_steps must be at least 1 with an endless stream, not -1"):
        fit(LatentDataModule(folder, 3, SEED), -1, max_epochs=1)


@pytest.mark.integration
def test_a_checkpoint_of_another_seed_is_refused(folder, tmp_path):
    fit(LatentDataModule(folder, 4, SEED), 6, callbacks=[SaveAt(2, tmp_path / "c.ckpt")])
    with pytest.raises(ValueError, match="seed must be 5, as in the checkpoint, not 6"):
        fit(LatentDataModule(folder, 4, SEED + 1), 6, resume=tmp_path / "c.ckpt")
