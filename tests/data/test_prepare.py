"""From a source to prepared data with counts and a report."""

import json
from pathlib import Path

import pytest

from ldc.data.filters import Filters
from ldc.data.prepare import load_prepared, prepare_data
from ldc.data.sources import Emoji, Shards

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def laion(tmp_path, write_members, picture):
    """A shard with the keys that img2dataset keeps of LAION."""
    rows = [
        {"AESTHETIC_SCORE": 6.6, "pwatermark": 0.1, "similarity": 0.35, "original_width": 900, "original_height": 700},
        {"AESTHETIC_SCORE": 5.1, "pwatermark": 0.1, "similarity": 0.35, "original_width": 900, "original_height": 700},
        {"AESTHETIC_SCORE": 6.9, "pwatermark": 0.9, "similarity": 0.35, "original_width": 900, "original_height": 700},
        {"AESTHETIC_SCORE": 6.7, "pwatermark": 0.2, "similarity": 0.10, "original_width": 900, "original_height": 700},
        {"AESTHETIC_SCORE": 6.8, "pwatermark": 0.2, "similarity": 0.31, "original_width": 900, "original_height": 200},
        {"AESTHETIC_SCORE": 7.0, "pwatermark": None, "similarity": 0.33, "original_width": 640, "original_height": 640},
    ]
    members = {}
    for number, row in enumerate(rows):
        key = f"{number:09d}"
        row |= {"key": key, "status": "success", "caption": f"photo {number}", "url": "http://host/x.jpg"}
        members |= {
            f"{key}.jpg": picture,
            f"{key}.txt": row["caption"].encode(),
            f"{key}.json": json.dumps(row).encode(),
        }
    return write_members(tmp_path / "00000.tar", members)


BOUNDS = {"min_aesthetic": 6.5, "max_watermark": 0.5, "min_similarity": 0.28, "min_size": 512}


@pytest.mark.parametrize(
    ("missing", "kept", "more"),
    [("keep", ["000000000", "000000005"], {}), ("drop", ["000000000"], {"missing watermark": 1})],
)
def test_laion_filters_count_what_they_leave_out(tmp_path, laion, missing, kept, more):
    prepared = prepare_data(Shards(str(laion)), tmp_path / "cache", filters=Filters(**BOUNDS, missing=missing))
    assert [record["key"] for record in prepared.samples().records()] == kept
    assert prepared.counts == {
        "train": len(kept),
        "filtered": {"aesthetic": 1, "watermark": 1, "similarity": 1, "size": 1, **more},
        "skipped": {},
    }


def test_corrupt_images_are_named_in_the_report_and_left_out(tmp_path, write_shard):
    keys = [f"{number:04d}" for number in range(12)]
    tar = write_shard(tmp_path / "a.tar", keys, corrupt=["0003"])
    prepared = prepare_data(Shards(str(tar)), tmp_path / "cache")
    report = json.loads((prepared.folder / "report.json").read_text())
    assert report["names"] == {"corrupt image": ["0003"]}
    assert (report["kept"], prepared.counts["train"], len(prepared.samples())) == (11, 11, 11)


def test_too_many_corrupt_images_are_an_error_also_when_prepared_before(tmp_path, write_shard):
    tar = write_shard(tmp_path / "a.tar", ["0000", "0001", "0002"], corrupt=["0001"])
    prepare_data(Shards(str(tar)), tmp_path / "cache", max_skipped=0.5)
    with pytest.raises(ValueError, match=r"at most 0\.1, not 0\.333 \(1 of 3: corrupt image 1\)"):
        prepare_data(Shards(str(tar)), tmp_path / "cache")


def test_second_call_gives_the_same_without_reading_the_samples(tmp_path, write_shard):
    tar = write_shard(tmp_path / "a.tar", ["0000"])
    first = prepare_data(Shards(str(tar)), tmp_path / "cache")
    stamp = (first.folder / "prepared.json").stat().st_mtime_ns
    assert prepare_data(Shards(str(tar)), tmp_path / "cache") == first == load_prepared(first.folder)
    assert (first.folder / "prepared.json").stat().st_mtime_ns == stamp


def test_held_out_shards_are_not_filtered(tmp_path, laion):
    source = Shards(str(laion), held_out={"val": str(laion)})
    prepared = prepare_data(source, tmp_path / "cache", filters=Filters(**BOUNDS))
    assert (len(prepared.samples()), len(prepared.samples("val"))) == (2, 6)


def test_streaming_looks_at_no_training_shard(tmp_path):
    prepared = prepare_data(Shards("pipe:exit 1", reader="streaming"), tmp_path)
    assert (prepared.train, prepared.counts["train"], prepared.streaming) == (["pipe:exit 1"], None, True)
    with pytest.raises(ValueError, match="the train split is streamed"):
        prepared.samples()


def test_unknown_split_names_those_there_are(tmp_path, write_shard):
    prepared = prepare_data(Shards(str(write_shard(tmp_path / "a.tar", ["0000"]))), tmp_path)
    with pytest.raises(ValueError, match=r"^split must be one of train, not 'val'\.$"):
        prepared.samples("val")


def test_pattern_that_matches_nothing_leaves_the_cache_untouched(tmp_path):
    with pytest.raises(ValueError, match="matches nothing in"):
        prepare_data(Shards(f"{tmp_path}/*.tar"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.integration
def test_embedded_emoji_have_their_published_counts(tmp_path):
    mini = prepare_data(Emoji(ASSETS / "emoji64.tar.xz", mini=True), tmp_path)
    whole = prepare_data(Emoji(ASSETS / "emoji64.tar.xz"), tmp_path)
    counts = [[data.counts[split] for split in ("train", "cell", "composition")] for data in (mini, whole)]
    assert counts == [[972, 30, 12], [5079, 114, 24]]
    assert max(len(whole.samples().shard(number)) for number in range(len(whole.train))) == 1000
