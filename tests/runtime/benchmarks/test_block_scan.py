"""The scan's three ways on a tiny Llama; how fast they are is no matter of tests."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ldc.runtime.benchmarks import block_scan
from ldc.runtime.paths import CONF

pytestmark = pytest.mark.integration


@pytest.fixture
def scan(tiny_llama, tmp_path):
    """`scan(*settings)`: the benchmark of the shipped config on a random Llama of the tiny one's config."""
    tiny_llama().config.save_pretrained(tmp_path)

    def build(*settings):
        teacher = ["teacher@benchmark.teacher=custom_language", "benchmark.teacher.path_or_id=tiny"]
        random = ["benchmark.teacher.weights=random", f"benchmark.teacher.architecture={tmp_path}"]
        sizes = ["benchmark.samples=3", "benchmark.length=8", "benchmark.batch_size=2"]
        overrides = ["benchmark=block_scan", *teacher, *random, *sizes, *(f"benchmark.{each}" for each in settings)]
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return instantiate(compose("profile", overrides=overrides).benchmark, _recursive_=False)

    return build


def test_three_ways_give_the_same_scores_and_are_timed_by_turns(scan, tmp_path):
    bench = scan("repeats=2")
    bench.check(dry_run=False)
    found = bench.run(tmp_path)
    assert [row["way"] for row in found["rows"]] == ["cached prefixes", "skipped in place", "rebuilt per block"]
    cached, in_place, rebuilt = found["rows"]
    assert cached["largest_difference"] == in_place["largest_difference"] == 0
    assert rebuilt["largest_difference"] < 1e-5
    for row in found["rows"]:
        assert row["times_faster"] == pytest.approx(in_place["seconds"] / row["seconds"])
        assert 0 < row["low"] <= row["seconds"] <= row["high"]
    assert found["met"] is (cached["times_faster"] >= 1.4)


def test_the_official_way_can_be_left_out(scan, tmp_path):
    assert [row["way"] for row in scan("rebuild=false").run(tmp_path)["rows"]] == [
        block_scan.CACHED,
        block_scan.IN_PLACE,
    ]


def test_what_can_be_spared_is_counted_on_the_meta_device(scan):
    described = scan().describe()
    block, head = 4 * 64 * 64 + 3 * 64 * 172 + 2 * 64, 256 * 64
    whole, cached = 11 * head + 100 * block, 11 * head + 55 * block
    assert described == {"params": 528_192, "num_blocks": 10, "tokens": 24, "bound": pytest.approx(whole / cached)}


def test_ways_that_do_not_agree_are_not_compared():
    scores = {block_scan.IN_PLACE: (2.0, 3.0), block_scan.CACHED: (2.0, 3.001)}
    with pytest.raises(
        ValueError, match="scores by cached prefixes must be those of whole passes, but they differ by 0"
    ):
        block_scan._differences(scores)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("samples=0", "samples must be a whole number from 1, not 0"),
        ("length=1", "length must be a whole number from 2, not 1"),
        ("target=0", "target must be a number above 0, not 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(scan, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        scan(setting).check(dry_run=True)


def test_a_teacher_that_is_not_here_is_counted_and_not_run(scan):
    bench = scan("teacher.weights=pretrained", "teacher.path_or_id=/nowhere")
    bench.check(dry_run=True)
    assert bench.describe()["params"] == 528_192
    with pytest.raises(ValueError, match="/nowhere"):
        bench.check(dry_run=False)
