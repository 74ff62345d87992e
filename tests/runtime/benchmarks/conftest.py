"""Benchmarks as their configs say them, on networks of a quarter of the side and a sixteenth of the width."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ldc.runtime.benchmarks.cases import build_case
from ldc.runtime.benchmarks.scaling import scaled
from ldc.runtime.paths import CONF

SMALL = 4


@pytest.fixture(scope="session")
def benchmark():
    """`benchmark(name, *settings)`: the benchmark of that config, at the small scale where settings say no other."""

    def build(name, *settings):
        overrides = [f"benchmark={name}", f"benchmark.scale={SMALL}", *(f"benchmark.{setting}" for setting in settings)]
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return instantiate(compose("profile", overrides=overrides).benchmark, _recursive_=False)

    return build


@pytest.fixture(scope="session")
def case(benchmark):
    """`case(name)`: a method on the small networks."""
    methods = benchmark("steps").methods

    def build(name):
        return build_case(name, methods[name], scaled("sd14", SMALL), seed=0)

    return build
