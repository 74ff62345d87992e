import math

import pytest
import torch

from ldc.training import adamw
from ldc.training.schedules import constant, constant_with_warmup, cosine, linear


def rates(schedule, steps, **options):
    optimizer = adamw([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_the_schedules_are_their_formulas():
    assert rates(constant, 3) == [2.0, 2.0, 2.0]
    assert rates(constant_with_warmup, 5, warmup_steps=4) == [0.5, 1.0, 1.5, 2.0, 2.0]
    expected = [1 + math.cos(math.pi * s / 4) for s in range(5)]
    assert rates(cosine, 5, total_steps=4) == pytest.approx(expected)
    assert rates(linear, 7, total_steps=5, warmup_steps=1) == [2.0, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0]
    assert rates(linear, 4, total_steps=8, warmup_steps=4) == [0.5, 1.0, 1.5, 2.0]
    assert rates(cosine, 7, total_steps=5, warmup_steps=1, final_ratio=0.1)[-1] == pytest.approx(0.2)


def test_a_warmup_longer_than_the_fit_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps must be in \[0, 4\), not 4"):
        rates(cosine, 1, total_steps=4, warmup_steps=4)
    with pytest.raises(ValueError, match=r"warmup_steps must be in \[0, 4\), not 4"):
        rates(linear, 1, total_steps=4, warmup_steps=4)


def test_adamw_is_fused_where_the_device_has_a_kernel_and_equals_the_plain_one():
    results = []
    for fused in (None, False):
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = adamw([parameter], lr=0.1, fused=fused)
        for _ in range(3):
            optimizer.zero_grad()
            parameter.square().sum().backward()
            optimizer.step()
        results.append((bool(optimizer.defaults["fused"]), parameter.detach()))

    assert [fused for fused, _ in results] == [True, False]
    torch.testing.assert_close(results[0][1], results[1][1])


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="at least one parameter"):
        adamw([], lr=0.1)


def test_adamw_takes_groups_with_rates_of_their_own():
    fast, slow = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimizer = adamw([{"params": [fast], "lr": 1.0}, {"params": [slow], "lr": 0.25}], lr=2.0)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.25]
    assert optimizer.defaults["fused"]
