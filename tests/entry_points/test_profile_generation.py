import json

import pytest
import torch

from ldc.profile import main

TINY = ("benchmark=generation", "protocol.batch_sizes=[2]", "protocol.new_tokens=[3]", "protocol.runs=2")


@pytest.fixture
def llama(tiny_llama, tmp_path):
    """`llama(name, blocks)`: a folder of a tiny Llama without a tokenizer."""

    def save(name, blocks):
        tiny_llama(num_hidden_layers=blocks).save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.integration
def test_several_models_take_turns_and_each_has_a_row_and_a_point(command, llama, tmp_path):
    students = f"benchmark.students=[{llama('whole', 3)},{llama('pruned', 1)}]"
    out = tmp_path / "out"
    summary = command(main, *TINY, students, f"out={out}").summary
    whole, pruned = summary["rows"]
    assert (whole["blocks"], pruned["blocks"]) == (3, 1)
    assert pruned["tokens_per_second"] == pytest.approx(2 * 3 / pruned["seconds"])  # one run counts
    assert summary["stamp"]["by_turns"] is True
    assert json.loads((out / "benchmark.json").read_text())["rows"] == summary["rows"]
    assert (out / "speed.png").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused only where there is no GPU")
def test_the_published_protocol_is_refused_without_cuda_unless_the_cpu_is_asked_for(refused, command, llama):
    paper = ("benchmark=generation", "protocol=paper", f"student={llama('whole', 1)}")
    assert refused(main, *paper).startswith("protocol=paper must run on a machine with a CUDA device")
    summary = command(main, *paper, "device=cpu", "dry_run=true").summary
    assert summary["protocol"]["device"] == "cpu"
    assert summary["protocol"]["batch_sizes"] == [1, 8, 16, 32, 64, 128, 256]


def test_a_benchmark_without_a_student_asks_for_one(refused):
    assert refused(main, "benchmark=generation") == (
        "student must be a language model for benchmark=generation, and none is given."
    )


def test_a_diffusion_model_is_refused(refused):
    assert refused(main, "benchmark=generation", "student=emoji_ldm") == (
        "student must be a language model for benchmark=generation, not 'emoji_ldm'."
    )
