import json

import pytest
import torch

from ldc.profile import main

TINY = ("benchmark=data", "benchmark.scale=4", "benchmark.samples=6", "benchmark.batch_size=2", "benchmark.batches=1")


def test_figures_are_printed_and_written_with_the_machine(command, tmp_path):
    arguments = ("benchmark.repeats=1", "benchmark.num_workers=[0]", f"paths.outputs={tmp_path}")
    said = command(main, *TINY, *arguments)
    written = json.loads((tmp_path / "profile" / "data" / "benchmark.json").read_text())
    assert said.summary == {**written, "out": str(tmp_path / "profile" / "data")}
    assert written["machine"]["threads"] == torch.get_num_threads()
    assert any(line.startswith("| reading | workers | samples_per_second") for line in said.err)


def test_a_dry_run_counts_and_writes_nothing(command, tmp_path):
    summary = command(main, "benchmark=full_size", "dry_run=true", f"paths.outputs={tmp_path / 'outputs'}").summary
    assert summary["kd"]["teacher_params"] == 859_520_964
    assert summary["lcm"]["state_gb"] == pytest.approx(7.626, abs=1e-3)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused only where there is no GPU")
def test_a_machine_without_a_gpu_is_told_so(refused):
    assert refused(main, "benchmark=gpu") == (
        "benchmark=gpu must run on a machine with a CUDA device, and this one has none."
    )


def test_an_unknown_benchmark_is_named_with_the_known_ones(refused):
    said = refused(main, "benchmark=speed")
    known = "block_scan, data, full_size, generation, gpu, resilience, steps"
    assert f"benchmark must be one of {known}, not 'speed'" in said
