"""Each benchmark runs from its config on small networks; how fast they are is no matter of tests."""

import gc

import pytest
import torch

from ldc.runtime.benchmarks import full_size
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.gpu import doubled, halved
from ldc.training import DistillationModule

pytestmark = pytest.mark.integration
STEPS = ("batch_size=1", "warmup=0", "steps=2")


def test_steps_are_timed_by_turns_and_held_against_the_bound_at_equal_precision_only(benchmark, tmp_path):
    found = benchmark("steps", *STEPS).run(tmp_path)["rows"]
    assert [(row["method"], row["row"]) for row in found] == [
        (method, row) for method in ("kd", "lcm") for row in ("equal precision", "channels last", "bf16 teacher")
    ]
    for row in found:
        assert row["ratio"] == pytest.approx(row["reference_seconds"] / row["seconds"])
        assert row["share_of_bound"] == pytest.approx(row["ratio"] / row["bound"])
        reached = row["share_of_bound"] >= 0.95
        assert row["met"] is (reached if row["row"] == "equal precision" else None)


def test_networks_that_lose_the_shares_of_the_work_are_not_timed(benchmark, tmp_path):
    with pytest.raises(ValueError, match="vae must cost within 1% of its share at full size, not"):
        benchmark("steps", *STEPS, "tolerance=0.01").run(tmp_path)


def test_a_method_without_any_average_is_refused(benchmark):
    with pytest.raises(ValueError, match="each method must have an average or a target"):
        benchmark("steps", "methods.kd.averaging=null").check(dry_run=False)


def test_a_number_of_steps_that_cannot_be_is_refused(benchmark):
    with pytest.raises(ValueError, match="steps must be a whole number from 1, not 0"):
        benchmark("steps", "steps=0").check(dry_run=False)


SMALL_DATA = ("samples=12", "samples_per_shard=5", "batch_size=4", "batches=2", "repeats=1", "num_workers=[0]")


def test_data_are_read_from_shards_and_from_memory_and_sought_at_every_position(benchmark, tmp_path):
    found = benchmark("data", *SMALL_DATA, "positions=[0,1000000]").run(tmp_path)
    assert found["cache"] == {**found["cache"], "samples": 12, "shards": 3, "latent_shape": [4, 16, 16]}
    assert [row["reading"] for row in found["rows"]] == ["indexed shards", "memory"]
    assert all(0 < row["low"] <= row["samples_per_second"] <= row["high"] for row in found["rows"])
    assert [seek["position"] for seek in found["seeks"]] == [0, 1000000]


def test_a_folder_without_a_cache_is_refused(benchmark, tmp_path):
    with pytest.raises(ValueError, match="must be a folder of encoded shards"):
        benchmark("data", f"folder={tmp_path}").check(dry_run=False)


def test_a_full_size_step_reports_seconds_and_memory(benchmark, tmp_path):
    found = benchmark("full_size", "own_process=false").run(tmp_path)
    assert [row["method"] for row in found["rows"]] == ["kd", "lcm"]
    for row in found["rows"]:
        assert min(row["seconds"], row["first_step_seconds"]) > 0
        assert row["within_limit"] is (row["peak_memory_gb"] <= 24)


def test_a_peak_of_memory_is_that_of_a_process_for_one_method(benchmark, tmp_path):
    bench = benchmark("full_size")
    del bench.methods["kd"]
    (row,) = bench.run(tmp_path)["rows"]
    assert row["method"] == "lcm"
    assert row["peak_memory_gb"] > 0


def test_the_state_of_a_full_size_step_is_counted_without_running(benchmark):
    state = {name: found["state_gb"] for name, found in benchmark("full_size", "scale=1").describe().items()}
    kd, lcm = 16 * 579_384_964 + 2 * 859_520_964, 20 * 323_466_884 + 2 * 859_520_964
    assert state == pytest.approx({"kd": kd / 2**30, "lcm": lcm / 2**30})


def test_a_machine_without_the_memory_for_the_weights_is_refused(benchmark, monkeypatch):
    monkeypatch.setattr(full_size, "available_memory_gb", lambda: 0.01)
    bench = benchmark("full_size")
    with pytest.raises(ValueError, match=r"memory must hold 0\.\d GiB of weights"):
        bench.check(dry_run=False)
    bench.check(dry_run=True)


def gpu_on_cpu(benchmark, *settings):
    """The GPU's benchmark with its device changed: all of it but CUDA's own counters."""
    return benchmark(
        "gpu",
        "how.device=cpu",
        "how.num_workers=0",
        "matmul_size=32",
        "warmup=0",
        "steps=1",
        "first_batch_size=1",
        *settings,
    )


def test_the_best_batch_is_one_of_those_tried(benchmark, tmp_path):
    bench = gpu_on_cpu(benchmark, "modes=[eager]", "largest_batch_size=2")
    found = bench.run(tmp_path)
    for method, row in zip(("kd", "lcm"), found["rows"], strict=True):
        tried = found["tried"][method]
        assert [figures["batch_size"] for figures in tried] == [1, 2]
        assert row["samples_per_second"] == max(figures["samples_per_second"] for figures in tried)
        tflop = found["methods"][method]["step_tflop"] * row["samples_per_second"]
        assert row["share_of_matmul_rate"] == pytest.approx(tflop / found["matmul_tflop_per_second"])


def test_no_networks_of_an_earlier_measurement_are_in_memory_beside_the_next(benchmark, tmp_path):
    bench = gpu_on_cpu(benchmark, "modes=[eager]", "largest_batch_size=1")
    case = bench.case("kd")
    cache = random_cache(tmp_path / "cache", case.configs, 4).folder
    gc.collect()
    gc.disable()  # what is freed is freed by the benchmark, not by chance
    try:
        for name in ("one", "two"):
            bench._figures(case, bench.how_of(1), cache, tmp_path / name, rate=1.0)
        left = [thing for thing in gc.get_objects() if issubclass(type(thing), DistillationModule)]
    finally:
        gc.enable()
    assert len(left) == 1


def test_doubling_ends_where_the_memory_does():
    def measure(size):
        if size > 4:
            raise torch.OutOfMemoryError
        return {"batch_size": size}

    assert [figures["batch_size"] for figures in doubled(measure, 1, 64)] == [1, 2, 4]
    assert [figures["batch_size"] for figures in doubled(measure, 1, 3)] == [1, 2]
    with pytest.raises(ValueError, match="first_batch_size must fit the device's memory, and 8 does not"):
        doubled(measure, 8, 64)


def test_a_mode_that_needs_more_memory_is_measured_at_the_first_half_that_fits():
    def measure(batch_size):
        if batch_size > 3:
            raise torch.OutOfMemoryError
        return {"batch_size": batch_size}

    assert halved(measure, 16) == [{"batch_size": 2}]
    assert halved(measure, 3) == [{"batch_size": 3}]


def test_a_mode_that_fits_at_no_batch_size_is_left_out():
    def measure(batch_size):
        raise torch.OutOfMemoryError

    assert halved(measure, 4) == []


def test_an_unknown_mode_is_refused(benchmark):
    with pytest.raises(ValueError, match="modes must be one or both of eager, compiled, not"):
        gpu_on_cpu(benchmark, "modes=[fast]").check(dry_run=False)


@pytest.mark.gpu
def test_a_gpu_is_measured_eagerly_and_compiled(benchmark, tmp_path):
    settings = ("matmul_size=1024", "warmup=1", "steps=2", "first_batch_size=2", "largest_batch_size=4")
    found = benchmark("gpu", *settings).run(tmp_path)
    assert [(row["method"], row["mode"]) for row in found["rows"]] == [
        (method, mode) for method in ("kd", "lcm") for mode in ("eager", "compiled")
    ]
    assert all(row["peak_memory_gb"] > 0 and row["samples_per_second"] > 0 for row in found["rows"])
