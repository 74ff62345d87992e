import statistics
from dataclasses import replace

import pytest
import torch

from ldc.profiling.generation import GenerationProtocol, Laps, figures, time_generation

TINY = GenerationProtocol("cpu", "cpu", "float32", batch_sizes=[2], new_tokens=[4], runs=3, discarded=1)


@pytest.fixture
def model(tiny_llama):
    return tiny_llama(num_hidden_layers=2)


def test_throughput_is_the_mean_over_the_runs_of_new_tokens_by_time():
    found = figures(Laps([2.0, 4.0], [0.5, 1.0], [1.5, 3.0]), batch_size=8, new_tokens=16, prompt_tokens=12)
    assert found["tokens_per_second"] == (8 * 16 / 2 + 8 * 16 / 4) / 2
    assert found["prefill_tokens_per_second"] == (8 * 12 / 0.5 + 8 * 12 / 1.0) / 2
    assert found["decode_tokens_per_second"] == (8 * 15 / 1.5 + 8 * 15 / 3.0) / 2


def test_the_spread_is_the_population_deviation():
    found = figures(Laps([2.0, 4.0], [0.5, 1.0], [1.5, 3.0]), 1, 2, 12)
    assert (found["seconds"], found["seconds_std"]) == (3.0, 1.0)
    assert found["seconds_std"] != statistics.stdev([2.0, 4.0])


def test_prefill_and_decoding_add_up_to_the_whole(model):
    prompt = TINY.prompt_ids(None)
    found = time_generation({"one": model}, {"one": prompt}, TINY, 2, 4)["one"]
    assert found["runs"] == 2
    assert found["prompt_tokens"] == prompt.shape[1] == 12
    assert found["prefill_seconds"] > 0
    assert found["decode_seconds"] > 0
    assert found["prefill_seconds"] + found["decode_seconds"] == pytest.approx(found["seconds"], abs=1e-3)


def test_every_run_gives_exactly_the_tokens_that_are_asked_for_though_one_ends_the_text(model):
    model.generation_config.eos_token_id = list(range(200))  # nearly every token would end it
    found = time_generation({"one": model}, {"one": TINY.prompt_ids(None)}, TINY, 2, 9)["one"]
    assert found["new_tokens"] == 9  # a run that stops early raises


def test_models_take_turns_within_every_run(model, tiny_llama):
    other, order = tiny_llama(num_hidden_layers=1), []
    for label, one in (("a", model), ("b", other)):
        one.register_forward_pre_hook(lambda *_, label=label: order.append(label))
    prompt = TINY.prompt_ids(None)
    found = time_generation({"a": model, "b": other}, {"a": prompt, "b": prompt}, TINY, 1, 1)
    assert order == ["a", "b"] * TINY.runs
    assert found["a"]["memory_mib"] is None  # one process, two models


def test_the_draws_of_the_caller_go_on_as_if_nothing_had_been_generated(model):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    time_generation({"one": model}, {"one": TINY.prompt_ids(None)}, TINY, 1, 2)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused only where there is no GPU")
def test_the_published_protocol_needs_cuda_unless_the_cpu_is_asked_for():
    paper = replace(TINY, name="paper", device="cuda")
    with pytest.raises(ValueError, match="protocol=paper must run on a machine with a CUDA device"):
        paper.check()
    replace(paper, device="cpu").check()


def test_no_run_that_counts_is_refused():
    with pytest.raises(ValueError, match="discarded must be from 0 to below runs, not 3 of 3"):
        replace(TINY, discarded=3).check()


@pytest.mark.gpu
def test_memory_on_a_gpu_is_that_of_the_weights_and_of_generating(model):
    protocol = replace(TINY, device="cuda", dtype="float16")
    model = model.to("cuda", torch.float16)
    found = time_generation({"one": model}, {"one": TINY.prompt_ids(None)}, protocol, 2, 4)["one"]
    weights = sum(parameter.nbytes for parameter in model.parameters()) / 2**20
    assert found["memory_mib"] > weights
