"""Encoding shards to cached latents."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from ldc.data.encode import encode_shards
from ldc.data.encoded import Encoded
from ldc.data.latents import EncodedReader
from ldc.data.sharded import ShardedSamples
from ldc.data.transforms import decode, to_pixels


@pytest.fixture
def tars(tmp_path, write_shard):
    return [
        write_shard(tmp_path / "a.tar", ["0000", "0001", "0002"]),
        write_shard(tmp_path / "b.tar", ["0003", "0004"], captions=3),
    ]


@pytest.fixture
def encode(tmp_path, toy_encoders):
    def call(tars, encoders=None, out="out", **options):
        return encode_shards(tars, encoders or toy_encoders(), tmp_path / out, size=8, progress=False, **options)

    return call


@pytest.fixture
def interrupted(tars, encode, toy_encoders, tmp_path):
    """The folder that is left when the machine is taken away in the second shard."""

    class Interrupted(toy_encoders):
        def moments(self, pixels):
            if self.images >= 3:
                raise KeyboardInterrupt
            return super().moments(pixels)

    with pytest.raises(KeyboardInterrupt):
        encode(tars, Interrupted())
    (folder,) = (tmp_path / "out").iterdir()
    return folder


def test_cache_holds_the_moments_and_the_states_of_every_caption(tars, encode, toy_encoders):
    encoded, encoders, samples = encode(tars), toy_encoders(), ShardedSamples(tars)
    reader = EncodedReader(encoded)
    for number in range(5):
        raw, cached = samples.sample(number), reader[number]
        pixels = to_pixels(decode(raw["image"]), 8)
        expected = encoders.moments(pixels[None])[0]
        assert cached.key == raw["key"]
        torch.testing.assert_close(torch.from_numpy(cached.moments).float(), expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(torch.from_numpy(cached.text).float(), encoders.text(raw["captions"]))


def test_manifest_says_what_was_encoded(tars, encode):
    manifest = encode(tars).manifest
    assert manifest["latent_shape"] == [2, 4, 4]
    assert manifest["text_shape"] == [3, 2]
    assert (manifest["samples"], manifest["captions"]) == (5, 12)
    assert manifest["scaling_factor"] == 0.5
    assert [shard["source"] for shard in manifest["shards"]] == ["a.tar", "b.tar"]


def test_members_are_half_precision_and_keep_captions_and_metadata(tars, encode):
    with tarfile.open(encode(tars).tars[1]) as tar:
        members = ("json", "moments.npy", "text.npy")
        assert tar.getnames() == [f"{key}.{member}" for key in ("0003", "0004") for member in members]
        assert np.load(io.BytesIO(tar.extractfile("0003.text.npy").read())).dtype == np.float16
        assert json.load(tar.extractfile("0003.json")) == {
            "number": 3,
            "captions": [f"picture 3 caption {caption}" for caption in range(3)],
        }


def test_flips_are_the_moments_of_the_mirrored_image(tars, encode, toy_encoders):
    cached = EncodedReader(encode(tars, flip=True))[0]
    pixels = to_pixels(decode(ShardedSamples(tars).sample(0)["image"]), 8, flip=True)
    expected = toy_encoders().moments(pixels[None])[0]
    torch.testing.assert_close(torch.from_numpy(cached.flipped).float(), expected, rtol=1e-3, atol=1e-3)
    assert not np.array_equal(cached.flipped, cached.moments)


def test_without_text_only_the_captions_are_kept(tars, encode):
    encoded = encode(tars, text=False)
    cached = EncodedReader(encoded)[3]
    assert encoded.empty_text is None
    assert cached.text is None
    assert cached.captions == [f"picture 3 caption {caption}" for caption in range(3)]


def test_a_finished_cache_is_not_encoded_again(tars, encode, toy_encoders):
    first = encode(tars)
    encoders = toy_encoders()
    second = encode(tars, encoders)
    assert encoders.images == 0
    assert second.folder == first.folder


def test_an_interrupted_encoding_continues_with_the_missing_shard(tars, interrupted, encode, toy_encoders):
    assert sorted(path.name for path in interrupted.iterdir()) == ["00000.json", "00000.tar"]
    encoders = toy_encoders()
    resumed = encode(tars, encoders)
    assert encoders.images == 2 + 1  # the second shard, and one image that shows the latents' shape
    assert len(EncodedReader(resumed)[4].text) == 3
    straight = encode(tars, out="straight")
    assert [tar.read_bytes() for tar in resumed.tars] == [tar.read_bytes() for tar in straight.tars]
    assert resumed.manifest == straight.manifest


def test_an_unfinished_folder_is_refused_by_readers(interrupted):
    with pytest.raises(ValueError, match=r"must be a folder of encoded shards"):
        Encoded(interrupted)


@pytest.mark.parametrize("change", [{"flip": True}, {"text": False}])
def test_other_options_make_another_cache(tars, encode, change):
    assert encode(tars).folder != encode(tars, **change).folder


def test_other_encoders_make_another_cache(tars, encode, toy_encoders):
    assert encode(tars).folder != encode(tars, toy_encoders("other")).folder


def test_changed_shards_make_another_cache_and_moved_ones_do_not(tars, encode, write_shard, tmp_path):
    first = encode(tars).folder
    moved = [tar.rename(tmp_path / f"moved-{tar.name}") for tar in tars]
    assert encode(moved).folder == first
    write_shard(moved[1], ["0003", "0005"], captions=3)
    assert encode(moved).folder != first


def test_corrupt_images_are_skipped_counted_and_named(encode, write_shard, tmp_path):
    tars = [write_shard(tmp_path / "a.tar", [f"{n:04d}" for n in range(6)], corrupt=["0002"])]
    encoded = encode(tars, skip_limit=0.5)
    assert len(encoded) == 5
    assert [EncodedReader(encoded)[n].key for n in range(5)] == ["0000", "0001", "0003", "0004", "0005"]
    assert encoded.manifest["skipped"]["counts"] == {"corrupt image": 1}
    assert encoded.manifest["skipped"]["names"] == {"corrupt image": ["0002"]}


def test_too_many_corrupt_images_are_an_error(encode, write_shard, tmp_path):
    tars = [write_shard(tmp_path / "a.tar", ["0000", "0001", "0002"], corrupt=["0001", "0002"])]
    with pytest.raises(ValueError, match=r"share of skipped samples must be at most 0.5, not 0.667"):
        encode(tars, skip_limit=0.5)


def test_moments_beyond_half_precision_are_skipped(tars, encode, toy_encoders):
    class Overflowing(toy_encoders):
        def moments(self, pixels):
            moments = super().moments(pixels)
            moments[0, 0, 0, 0] = 1e6
            return moments

    encoded = encode(tars, Overflowing(), skip_limit=0.5)
    assert encoded.manifest["skipped"]["names"] == {"not finite in float16": ["0000", "0003"]}
    assert len(encoded) == 3


def test_workers_encode_the_same_bytes(tars, encode):
    alone = encode(tars)
    helped = encode(tars, out="helped", num_workers=1, batch_size=2)
    assert [tar.read_bytes() for tar in alone.tars] == [tar.read_bytes() for tar in helped.tars]


def test_a_missing_shard_is_refused(encode, tmp_path):
    with pytest.raises(ValueError, match=r"a shard must be an existing tar file, not"):
        encode([tmp_path / "nowhere.tar"])
