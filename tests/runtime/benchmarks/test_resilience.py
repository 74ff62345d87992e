import pytest

pytestmark = pytest.mark.integration


def test_a_guarded_fit_is_timed_by_turns_with_one_that_is_not(benchmark, tmp_path):
    found = benchmark("resilience", "processes=1", "every=2", "turns=2", "batch_size=1").run(tmp_path)
    guarded, bare = found["rows"]
    assert [row["way"] for row in found["rows"]] == ["checkpoints and polling", "neither"]
    assert found["overhead"] == pytest.approx(guarded["seconds"] / bare["seconds"] - 1)
    assert found["save_seconds"] > found["polling_microseconds"] / 1e6 > 0
    assert found["met"] is (found["polling_share"] + found["saving_share"] <= found["target"])


def test_an_unknown_method_is_refused(benchmark):
    with pytest.raises(ValueError, match="method must be one of kd, lcm, not 'gan'"):
        benchmark("resilience", "method=gan").check(dry_run=False)
