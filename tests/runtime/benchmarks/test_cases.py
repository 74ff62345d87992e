"""The figures that the bounds rest on, at Stable Diffusion's size."""

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def described(benchmark):
    return benchmark("steps", "scale=2").describe()


@pytest.mark.parametrize(("method", "bound", "tflop"), [("kd", 1.4763, 2.3723), ("lcm", 1.3184, 3.5486)])
def test_bound_and_work_of_a_step_follow_from_the_published_networks(described, method, bound, tflop):
    """KD: (558.3 + 6.6) / (401.6 + 3 x 261.5) GMACs are spared; LCM: as much of 2 x 401.6 + 4 x 242.8."""
    full = described[method]["full_size"]
    assert full["bound"] == pytest.approx(bound, abs=1e-4)
    assert full["step_tflop"] == pytest.approx(tflop, abs=1e-4)
    assert full["macs"]["vae"] == 558_329_233_408


@pytest.mark.parametrize("method", ["kd", "lcm"])
def test_the_networks_that_are_timed_keep_the_shares_of_the_work(described, method):
    assert described[method]["share_relative_to_full_size"] == pytest.approx(
        {"vae": 1.0, "text": 1.0, "student": 1.0}, abs=0.02
    )
    assert described[method]["timed"]["bound"] == pytest.approx(described[method]["full_size"]["bound"], abs=0.003)
