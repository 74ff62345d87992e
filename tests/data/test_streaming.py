"""The streaming reader, through webdataset."""

import logging
from itertools import islice

import pytest
from torch.utils.data import DataLoader

from ldc.data.filters import Filters
from ldc.data.streaming import StreamingSamples


@pytest.fixture
def urls(tmp_path, write_shard):
    shards = [[f"{shard}{number:03d}" for number in range(5)] for shard in range(4)]
    return [f"pipe:cat {write_shard(tmp_path / f'{place}.tar', keys)}" for place, keys in enumerate(shards)]


def keys(stream, number):
    return [item.sample["key"] for item in islice(stream, number)]


def test_an_epoch_holds_every_sample_once_and_the_next_has_another_order(urls):
    seen = keys(StreamingSamples(urls, seed=2, shuffle_buffer=1), 40)
    everything = [f"{shard}{number:03d}" for shard in range(4) for number in range(5)]
    assert sorted(seen[:20]) == sorted(seen[20:]) == everything
    assert seen[:20] != seen[20:]


def test_the_same_seed_gives_the_same_stream(urls):
    assert keys(StreamingSamples(urls, seed=1), 30) == keys(StreamingSamples(urls, seed=1), 30)
    assert keys(StreamingSamples(urls, seed=1), 30) != keys(StreamingSamples(urls, seed=2), 30)


def test_resuming_starts_at_the_shard_of_the_consumed_samples_and_says_so(urls, caplog):
    straight = keys(StreamingSamples(urls, seed=1, shuffle_buffer=1), 40)
    with caplog.at_level(logging.INFO):
        resumed = StreamingSamples(urls, seed=1, shuffle_buffer=1, consumed=28, samples_per_shard=5)
    assert "resumes at shard granularity: 28 samples -> shard 5" in caplog.text
    first = next(iter(resumed))
    assert (first.position, first.sample["key"]) == (28, straight[25])
    assert keys(resumed, 15) == straight[25:]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # this machine may have one core
def test_workers_share_the_shards_and_no_position_comes_twice(urls):
    loader = DataLoader(StreamingSamples(urls, seed=1, shuffle_buffer=1), batch_size=None, num_workers=2)
    items = list(islice(loader, 20))
    assert len({item.sample["key"] for item in items}) == 20
    assert sorted(item.position for item in items) == list(range(20))


def test_ranks_share_the_shards(urls, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        seen.append(keys(StreamingSamples(urls, seed=1, shuffle_buffer=1), 10))
    assert len(set(seen[0]) | set(seen[1])) == 20


def test_truncated_and_unreadable_shards_are_counted_once_and_passed_over(urls, tmp_path):
    path = tmp_path / "0.tar"
    path.write_bytes(path.read_bytes()[: 2048 * 3 + 600])
    stream = StreamingSamples([*urls, "pipe:exit 1"], seed=1, shuffle_buffer=1)
    seen = keys(stream, 18)
    assert len(set(seen)) == 18
    assert stream.report.counts == {"truncated tar": 1, "unreadable tar": 1}
    assert stream.report.names["unreadable tar"][0].startswith("pipe:exit 1")


def test_filtered_samples_do_not_come(urls):
    stream = StreamingSamples(urls, seed=1, filters=Filters(min_size=1, missing="drop"))
    with pytest.raises(ValueError, match=r"must hold a usable sample, but 4 of them gave none\.$"):
        next(iter(stream))
    assert stream.filtered == {"missing size": 20}


def test_share_of_damage_past_the_limit_is_an_error(tmp_path, write_members, picture):
    members = {f"{number:03d}.png": picture for number in range(60)}
    members |= {f"{number:03d}.txt": b"caption" for number in range(0, 60, 2)}
    members = dict(sorted(members.items()))
    stream = StreamingSamples([str(write_members(tmp_path / "a.tar", members))], seed=0)
    with pytest.raises(ValueError, match=r"at most 0\.1, not 0\.5"):
        list(islice(stream, 200))
