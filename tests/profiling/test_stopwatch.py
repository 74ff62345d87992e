import time

import pytest
import torch

from ldc.profiling import Stopwatch, spread


def test_a_lap_lasts_from_start_to_stop():
    watch = Stopwatch()
    watch.start()
    time.sleep(0.02)
    watch.stop()
    time.sleep(0.05)
    (lap,) = watch.laps()
    assert lap >= 0.02


def test_a_lap_that_is_still_running_does_not_count():
    watch = Stopwatch()
    watch.start()
    assert (watch.is_running, len(watch), watch.laps()) == (True, 0, [])
    watch.stop()
    assert (watch.is_running, len(watch)) == (False, 1)


def test_laps_are_summed_up_by_median_and_extremes():
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="at least one lap"):
        spread([])


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_own_clock():
    watch = Stopwatch("cuda")
    a = torch.randn(4096, 4096, device="cuda")
    watch.start()
    for _ in range(20):
        a = a @ a / 64
    watch.stop()
    assert watch.laps()[0] > 1e-3
