"""Many tars as one list of samples."""

import pytest

from ldc.data.filters import Filters
from ldc.data.report import SkipReport
from ldc.data.sharded import ShardedSamples


@pytest.fixture
def tars(tmp_path, write_shard):
    names = (["0000", "0001"], ["0002"], ["0003", "0004", "0005"])
    return [write_shard(tmp_path / f"{place}.tar", keys) for place, keys in enumerate(names)]


def test_samples_are_numbered_through_the_tars_in_order(tars):
    samples = ShardedSamples(tars)
    assert [samples.sample(number)["key"] for number in range(len(samples))] == [f"{n:04d}" for n in range(6)]
    assert [samples.shard(number) for number in range(3)] == [range(2), range(2, 3), range(3, 6)]


def test_records_hold_metadata_and_captions_without_images(tars):
    assert ShardedSamples(tars).records()[4] == {
        "key": "0004",
        "captions": ["picture 4 caption 0", "picture 4 caption 1"],
        "caption": "picture 4 caption 0",
        "number": 4,
    }


def test_number_past_the_end_is_an_index_error(tars):
    with pytest.raises(IndexError, match="from 0 to 5, not 6"):
        ShardedSamples(tars).sample(6)


def test_damaged_samples_are_left_out_and_reported(tmp_path, tars, write_members, picture):
    broken = {"a.png": picture, "a.txt": b"fine", "b.png": picture, "c.txt": b"no image"}
    broken |= {"d.png": picture, "d.json": b"{"}
    tars.append(write_members(tmp_path / "broken.tar", broken))
    samples = ShardedSamples(tars, report=SkipReport(limit=0.5))
    assert len(samples) == 7
    assert samples.sample(6)["captions"] == ["fine"]
    assert samples.report.counts == {"missing caption": 1, "missing image": 1, "unreadable metadata": 1}


def test_truncated_tar_is_named_in_the_report(tars):
    tars[2].write_bytes(tars[2].read_bytes()[: 2 * 2048 + 600])
    samples = ShardedSamples(tars, report=SkipReport(limit=0.5))
    assert [record["key"] for record in samples.records()][3:] == ["0003", "0004"]
    (name,) = samples.report.names["truncated tar"]
    assert name.startswith(str(tars[2]))


def test_too_many_damaged_samples_are_an_error(tmp_path, tars, write_members, picture):
    tars.append(write_members(tmp_path / "broken.tar", {"b.png": picture}))
    with pytest.raises(ValueError, match=r"at most 0\.1, not 0\.143 \(1 of 7: missing caption 1\)\.$"):
        ShardedSamples(tars)


def test_filtered_samples_are_counted_apart_from_damage(tmp_path, write_members, picture):
    members = {}
    for number, score in enumerate((4.0, 6.5, 7.0)):
        members |= {f"{number}.png": picture, f"{number}.json": b'{"caption": "c", "aesthetic": %.1f}' % score}
    samples = ShardedSamples([write_members(tmp_path / "a.tar", members)], Filters(min_aesthetic=6.5))
    assert [record["key"] for record in samples.records()] == ["1", "2"]
    assert samples.filtered == {"aesthetic": 1}
    assert samples.report.skipped == 0


def test_filters_that_leave_nothing_are_an_error(tars):
    with pytest.raises(ValueError, match=r"the filters left none: \{'missing aesthetic': 6\}"):
        ShardedSamples(tars, Filters(min_aesthetic=5, missing="drop"))


def test_excluded_keys_are_left_out(tars):
    assert len(ShardedSamples(tars, exclude=["0001", "0004"])) == 4
