import torch

from ldc.profiling import available_memory_gb, machine, matmul_rate, peak_memory_gb


def test_the_peak_of_memory_grows_with_what_is_taken():
    before = peak_memory_gb()
    taken = torch.ones(int((before + 0.25) * 2**30 / 4))
    assert 0.2 < peak_memory_gb() - before < before + 0.5
    assert taken[-1] == 1


def test_the_machine_is_described_with_its_threads():
    found = machine()
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["cpu"]


def test_memory_in_use_is_not_available():
    free = available_memory_gb()
    assert free is None or 0 < free < 2**20


def test_a_matmul_rate_is_positive_and_finite():
    assert 0 < matmul_rate("cpu", torch.float32, size=64, repeats=3) < 1e18
