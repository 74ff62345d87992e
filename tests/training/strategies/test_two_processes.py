"""Every strategy trains with two real processes over gloo; all of them share one pair, which is the costly part."""

import functools
import shutil

import numpy as np
import pytest
import torch

from ldc.training import NonFiniteError
from ldc.training.csv_log import read
from ldc.training.strategies.storage import shapes
from tests.training.strategies.fits import (
    HALF,
    STEPS,
    is_timed,
    losses,
    network,
    on_this_rank,
    pictures,
    published,
    train,
)

pytestmark = pytest.mark.integration

ZERO = ("deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
SHARDED = ("fsdp2", *ZERO)
ALL = ("ddp", *SHARDED)
BAD = 18  # a position in step 5: one of the ranks has it
# Sums over four samples are taken in another order by two ranks: float32's rounding, 20 steps long.
TOLERANCE = {"rtol": 2e-6, "atol": 1e-6}


def interrupt(folder, copy, rank):
    """Copies a run as it was at half its way."""
    if rank == 0:
        shutil.copytree(folder, copy)
        shutil.rmtree(copy / f"checkpoints/step-{STEPS:08d}")
    torch.distributed.barrier()


def end(folder, name, rank):
    """Ends a fit as if it had been killed after its last checkpoint; returns positions seen, state and weights."""
    if rank == 0:
        (folder / f"samples/step-{STEPS:06d}.png").unlink()
    torch.distributed.barrier()
    module, result = train(folder, name, 2)
    return module.objective.seen, on_this_rank(module), published(module, result)


def work(folder, rank):
    """Trains by each strategy: straight, from the middle on, without a step left, and with a bad sample."""
    made = {}
    for name in ALL:
        module, result = train(folder / name, name, 2)
        straight, weights = on_this_rank(module), published(module, result)
        interrupt(folder / name, folder / f"{name}-resumed", rank)
        resumed = on_this_rank(train(folder / f"{name}-resumed", name, 2)[0])
        ended = end(folder / f"{name}-resumed", name, rank)
        with pytest.raises(NonFiniteError) as error:
            train(folder / f"{name}-bad", name, 2, bad=BAD, every=1)
        made[name] = {"straight": straight, "resumed": resumed, "published": weights, "error": str(error.value)}
        made[name] |= {"ended": ended, "timed": is_timed(module)}
    return made


@pytest.fixture(scope="module")
def pair(torchrun, tmp_path_factory):
    """What two ranks made, and the folder of their runs."""
    folder = tmp_path_factory.mktemp("pair")
    return torchrun(functools.partial(work, folder), 2, folder), folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process without a strategy makes of the same global batches."""
    folder = tmp_path_factory.mktemp("one")
    module, result = train(folder, "auto", 1)
    return {"published": published(module, result), "losses": losses(folder), "pictures": pictures(folder)}


@pytest.mark.parametrize("name", ALL)
def test_twenty_steps_of_two_ranks_are_those_of_one_process(name, pair, one):
    torch.testing.assert_close(losses(pair[1] / name), one["losses"], **TOLERANCE)
    assert len(one["losses"]) == STEPS


@pytest.mark.parametrize("name", ALL)
def test_a_resumed_fit_is_bit_equal_to_the_straight_one_on_every_rank(name, pair):
    for made in (rank[name] for rank in pair[0]):
        assert made["straight"].keys() == made["resumed"].keys()
        different = [key for key, value in made["straight"].items() if not torch.equal(value, made["resumed"][key])]
        assert different == []
    assert read(pair[1] / f"{name}-resumed/metrics.csv") == read(pair[1] / f"{name}/metrics.csv")


@pytest.mark.parametrize("name", ALL)
def test_a_fit_that_was_killed_after_its_last_checkpoint_is_published_as_the_straight_one(name, pair):
    for made in (rank[name] for rank in pair[0]):
        seen, state, weights = made["ended"]
        assert seen == []
        assert all(torch.equal(value, state[key]) for key, value in made["straight"].items())
        torch.testing.assert_close(weights, made["published"], rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_a_fit_that_was_killed_before_its_last_grid_draws_it(name, pair):
    last = f"step-{STEPS:06d}.png"
    assert np.array_equal(pictures(pair[1] / f"{name}-resumed")[last], pictures(pair[1] / name)[last])


@pytest.mark.parametrize("name", ALL)
def test_the_published_weights_are_those_of_one_process(name, pair, one):
    torch.testing.assert_close(pair[0][0][name]["published"], one["published"], **TOLERANCE)


@pytest.mark.parametrize("name", ALL)
def test_grids_are_drawn_from_the_whole_average_while_training_goes_on(name, pair, one):
    drawn = pictures(pair[1] / name)
    assert drawn.keys() == one["pictures"].keys() == {f"step-{step:06d}.png" for step in (HALF, STEPS)}
    for step, picture in one["pictures"].items():
        assert np.abs(drawn[step] - picture).max() <= 1


@pytest.mark.parametrize("name", SHARDED)
def test_no_rank_holds_all_of_moments_and_average(name, pair):
    whole = sum(value.numel() for value in one_rank("average.", pair[0][0]["ddp"]["straight"]).values())
    for kind in ("average.", "optimizer."):
        parts = [one_rank(kind, rank[name]["straight"]) for rank in pair[0]]
        sizes = [sum(value.numel() for value in part.values() if value.dim()) for part in parts]
        copies = 1 if kind == "average." else 2
        assert sum(sizes) == copies * whole
        assert max(sizes) < 0.75 * copies * whole


def one_rank(prefix, tensors):
    return {name: value for name, value in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", ALL)
def test_a_bad_sample_of_one_rank_is_named_on_both(name, pair):
    expected = (
        "Losses and gradients must be finite, but at step 5 total, task, teacher, target were not;"
        f" samples with non-finite inputs: s{BAD}."
    )
    assert [rank[name]["error"] for rank in pair[0]] == [expected] * 2


@pytest.mark.parametrize("name", ALL)
def test_no_checkpoint_is_saved_after_a_bad_step(name, pair):
    kept = sorted(path.name for path in (pair[1] / f"{name}-bad/checkpoints").glob("step-*"))
    assert kept[-1:] == ["step-00000004"]


@pytest.mark.parametrize("name", ZERO)
def test_no_step_waits_for_the_device_to_be_timed(name, pair):
    assert not pair[0][0][name]["timed"]


@pytest.mark.parametrize("name", SHARDED)
def test_a_checkpoint_has_no_teacher_and_the_whole_of_the_rest(name, pair):
    stored = shapes(pair[1] / name / f"checkpoints/step-{HALF:08d}/state.ckpt")
    student, parameters = network(0).state_dict(), dict(network(0).named_parameters())
    expected = {f"{kind}.{key}": value for kind in ("student", "target") for key, value in student.items()}
    expected |= {f"average.{key}": value for key, value in parameters.items()}
    expected |= {f"optimizer.{key}.{m}": value for key, value in parameters.items() for m in ("exp_avg", "exp_avg_sq")}
    counts = {f"optimizer.{key}.step" for key in parameters}
    assert set(stored) == set(expected) | counts
    assert all(stored[key].numel() == value.numel() for key, value in expected.items())


@pytest.fixture(scope="module")
def alone(torchrun, pair, tmp_path_factory):
    """What one rank makes of the two ranks' checkpoints."""
    folder = tmp_path_factory.mktemp("alone")

    def go_on(_rank):
        made = {}
        for name in SHARDED:
            shutil.copytree(pair[1] / name, folder / name)
            shutil.rmtree(folder / name / f"checkpoints/step-{STEPS:08d}")
            made[name] = published(*train(folder / name, name, 1))
        return made

    return torchrun(go_on, 1, folder)[0], folder


@pytest.mark.parametrize("name", SHARDED)
def test_one_rank_goes_on_from_the_checkpoint_of_two(name, alone, one):
    torch.testing.assert_close(losses(alone[1] / name), one["losses"], **TOLERANCE)
    torch.testing.assert_close(alone[0][name], one["published"], **TOLERANCE)
