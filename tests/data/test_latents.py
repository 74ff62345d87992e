"""Batches of cached latents and of pixels, as pure functions of positions in the stream."""

from collections import Counter

import pytest
import torch

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.data.draws import caption_index, is_dropped, is_flipped, sample_posterior
from ldc.data.encode import encode_shards
from ldc.data.latents import LatentDataset
from ldc.data.pixels import PixelDataset, PixelReader, collate_pixels
from ldc.data.sharded import ShardedSamples

SEED = 5


@pytest.fixture
def tars(tmp_path, write_shard):
    return [
        write_shard(tmp_path / "a.tar", ["0000", "0001", "0002"]),
        write_shard(tmp_path / "b.tar", ["0003", "0004"], captions=3),
    ]


@pytest.fixture
def latents(tars, tmp_path, toy_encoders):
    def call(caption_dropout=0.0, memory_limit_mb=512, **options):
        encoded = encode_shards(tars, toy_encoders(), tmp_path / "out", size=8, progress=False, **options)
        return LatentDataset(encoded, SEED, caption_dropout, memory_limit_mb=memory_limit_mb)

    return call


@pytest.fixture
def pixels(tars):
    def call(**options):
        return PixelDataset(ShardedSamples(tars), PixelReader(8, SEED, **options))

    return call


def batch(data, positions):
    collate = getattr(data, "collate", collate_pixels)
    return collate([data[position] for position in positions])


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        else:
            assert one == other


def test_a_batch_has_the_declared_shapes_and_types(latents):
    found = batch(latents(), [7, 8, 9])
    assert isinstance(found, LatentBatch)
    assert [tuple(tensor.shape) for tensor in found[:4]] == [(3, 2, 4, 4), (3, 3, 2), (1, 3, 2), (3,)]
    assert [tensor.dtype for tensor in found[:4]] == [torch.float32, torch.float32, torch.float32, torch.int64]
    assert found.positions.tolist() == [7, 8, 9]


def test_cached_latents_equal_online_encoding_with_the_same_noise(latents, pixels, toy_encoders):
    positions = list(range(20))
    cached = batch(latents(flip=True, caption_dropout=0.3), positions)
    online = batch(pixels(flip=True, caption_dropout=0.3), positions)
    moments = toy_encoders().moments(online.pixels)
    expected = sample_posterior(moments, toy_encoders.scaling_factor, SEED, online.positions)
    assert cached.keys == online.keys
    torch.testing.assert_close(cached.latents, expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(cached.text, toy_encoders().text(online.captions))


def test_latents_are_scaled_posterior_samples():
    moments = torch.cat([torch.full((1, 2, 4, 4), 3.0), torch.full((1, 2, 4, 4), -60.0)], dim=1)
    found = sample_posterior(moments, 0.5, SEED, [0])  # the log variance is clamped at -30: no noise is left
    torch.testing.assert_close(found, torch.full((1, 2, 4, 4), 1.5))


def test_posterior_noise_differs_between_epochs_and_between_seeds():
    moments = torch.zeros(1, 4, 4, 4)
    draws = [sample_posterior(moments, 1.0, seed, [position]) for seed, position in ((5, 0), (5, 5), (6, 0))]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_batch_does_not_depend_on_what_was_read_before(latents):
    data, fresh = latents(caption_dropout=0.5, flip=True), latents(caption_dropout=0.5, flip=True)
    batch(data, [0, 1, 2])
    batch(data, [40, 3])
    assert_same(batch(data, [12, 13]), batch(fresh, [12, 13]))


def test_memory_and_tars_give_the_same_batches(latents):
    options = {"caption_dropout": 0.3, "flip": True}
    in_memory, from_tars = latents(**options), latents(**options, memory_limit_mb=0)
    assert type(in_memory.samples) is not type(from_tars.samples)
    assert_same(batch(in_memory, range(15)), batch(from_tars, range(15)))


def test_two_ranks_batches_are_one_ranks_batch(latents):
    data = latents(caption_dropout=0.5)
    whole, halves = batch(data, range(6)), (batch(data, range(3)), batch(data, range(3, 6)))
    torch.testing.assert_close(whole.latents, torch.cat([half.latents for half in halves]), rtol=0, atol=0)
    torch.testing.assert_close(whole.text, torch.cat([half.text for half in halves]), rtol=0, atol=0)


def test_every_caption_is_chosen_about_equally():
    counts = Counter(caption_index(SEED, position, 3) for position in range(600))
    assert sorted(counts) == [0, 1, 2]
    assert min(counts.values()) > 150


def test_captions_are_dropped_at_their_share_and_replaced_by_the_empty_states(latents):
    data = latents(caption_dropout=0.25)
    found = batch(data, range(400))
    empty = (found.text == found.empty_text).flatten(1).all(1)
    assert empty.tolist() == [is_dropped(SEED, position, 0.25) for position in range(400)]
    assert 70 < int(empty.sum()) < 130


def test_half_the_images_are_mirrored_where_flips_are_encoded(latents):
    flipped, plain = batch(latents(flip=True), range(40)), batch(latents(), range(40))
    differ = (flipped.latents != plain.latents).flatten(1).any(1)
    assert differ.tolist() == [is_flipped(SEED, position) for position in range(40)]
    assert 10 < int(differ.sum()) < 30


def test_without_cached_text_batches_hold_captions(latents, pixels):
    cached, online = (
        batch(data, range(20)) for data in (latents(text=False, caption_dropout=0.3), pixels(caption_dropout=0.3))
    )
    assert isinstance(cached, ImageTextBatch)
    assert cached.pixels is None
    assert cached.latents.shape == (20, 2, 4, 4)
    assert cached.captions == online.captions
    assert "" in cached.captions


def test_a_corrupt_image_is_replaced_by_the_next_one(tmp_path, write_shard):
    tar = write_shard(tmp_path / "c.tar", [f"{n:04d}" for n in range(6)], corrupt=["0003"])
    data = PixelDataset(ShardedSamples([tar]), PixelReader(8, SEED))
    keys = batch(data, range(6)).keys
    assert sorted(keys) == ["0000", "0001", "0002", "0004", "0004", "0005"]
    assert data.report.names == {"corrupt image": ["0003"]}


def test_a_dropout_that_is_no_share_is_refused(latents):
    with pytest.raises(ValueError, match=r"caption_dropout must be in \[0, 1\], not 10"):
        latents(caption_dropout=10)
