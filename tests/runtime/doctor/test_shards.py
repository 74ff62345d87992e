"""What is told of shards before they are prepared."""

import json

import pytest

from ldc.data.index import build_index
from ldc.data.sources import Emoji, Folder, Shards
from ldc.runtime.doctor.shards import enough_shards, look_at
from ldc.runtime.paths import ASSETS


@pytest.fixture
def shards(tmp_path, write_laion):
    for number in range(3):
        write_laion(tmp_path / f"{number:05d}.tar", [f"{number}{sample:04d}" for sample in range(4)])
    return tmp_path


def told(shards, cache, **changes):
    return look_at(Shards(**{"urls": str(shards / "*.tar"), **changes}), cache)


def texts(data, status):
    return [finding.text for finding in data.findings if finding.status == status]


def test_samples_are_those_that_img2dataset_has_counted(shards, tmp_path):
    for tar in shards.glob("*.tar"):
        tar.with_name(f"{tar.stem}_stats.json").write_text(json.dumps({"count": 9, "successes": 4}))
    data = told(shards, tmp_path / "cache")
    assert (data.samples, data.shards) == (12, 3)
    assert texts(data, "ok")[1] == "12 samples before filters (img2dataset's *_stats.json)"


def test_samples_are_those_of_saved_indexes(shards, tmp_path):
    for tar in shards.glob("*.tar"):
        build_index(tar, tmp_path / "cache")
    assert told(shards, tmp_path / "cache").samples == 12


def test_samples_are_guessed_from_one_shard_and_nothing_is_written(shards, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    data = told(shards, tmp_path / "cache")
    assert data.samples == pytest.approx(12, abs=1)
    assert "guessed: 4 in 00000.tar" in texts(data, "ok")[1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_shard_that_breaks_off_is_named(shards, tmp_path):
    tar = shards / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    (said,) = texts(told(shards, tmp_path / "cache"), "warning")
    assert said == f"1 of 3 shards are damaged, such as {tar} (no end mark)"


def test_shards_that_are_all_unreadable_stop_a_run(shards, tmp_path):
    for tar in shards.glob("*.tar"):
        tar.write_bytes(b"no tar")
    data = told(shards, tmp_path / "cache")
    assert "3 of 3 shards are damaged" in texts(data, "failed")[0]
    assert data.samples is None


def test_remote_shards_are_counted_and_left_alone(tmp_path):
    data = look_at(Shards("https://example.org/{00000..00099}.tar"), tmp_path)
    assert (data.samples, data.shards) == (None, 100)


def test_too_few_streamed_shards_are_a_warning(shards, tmp_path):
    source = Shards(str(shards / "*.tar"), reader="streaming")
    data = look_at(source, tmp_path)
    assert enough_shards(data, source, ranks=3, workers=0) == []
    (finding,) = enough_shards(data, source, ranks=2, workers=2)
    assert finding.status == "warning"
    assert finding.text == "3 streamed shards for 2 ranks x 2 workers: some read the same at once; have at least 4"


def test_indexed_shards_may_be_few(shards, tmp_path):
    source = Shards(str(shards / "*.tar"))
    assert enough_shards(look_at(source, tmp_path), source, ranks=64, workers=4) == []


def test_the_shipped_archive_tells_its_samples(tmp_path):
    counts = [look_at(Emoji(ASSETS / "emoji64.tar.xz", mini=mini), tmp_path).samples for mini in (True, False)]
    assert counts[0] < counts[1] <= 5217


def test_a_folders_images_are_counted(tmp_path):
    for name in ("a.png", "b.JPG", "b.txt"):
        (tmp_path / name).touch()
    assert look_at(Folder(tmp_path), tmp_path).samples == 2
