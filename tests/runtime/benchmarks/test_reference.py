"""The official way computes what ours computes: only then is its time worth comparing with."""

import copy

import pytest
import torch

from ldc.data.batch import LatentBatch
from ldc.objectives import Networks
from ldc.runtime.benchmarks.scaling import materialised
from ldc.runtime.benchmarks.steps import _inputs, reference_step

BATCH = 2


@pytest.fixture(params=["kd", "lcm"])
def both(request, case):
    """A case, its two networks, the official step on copies of them, and a batch."""
    found = case(request.param)
    torch.manual_seed(0)
    student, teacher = materialised(found.student).train(), materialised(found.teacher)
    reference = reference_step(found, copy.deepcopy(student), copy.deepcopy(teacher), seed=0)
    side, width = found.configs.unet["sample_size"], found.configs.text_encoder["hidden_size"]
    tokens = found.configs.text_encoder["max_position_embeddings"]
    empty = getattr(reference, "empty_text", torch.randn(1, tokens, width))
    batch = LatentBatch(
        torch.randn(BATCH, 4, side, side),
        torch.randn(BATCH, tokens, width),
        empty,
        torch.arange(BATCH),
        [str(n) for n in range(BATCH)],
    )
    return found, student, teacher, reference, batch


def test_losses_are_those_of_the_objective(both):
    found, student, teacher, reference, batch = both
    draws = found.objective.draw(batch, 0)
    target = copy.deepcopy(student) if found.is_consistency else None
    ours = found.objective.losses(Networks(student, teacher, target), batch, draws)
    theirs = reference.losses(batch.latents, batch.text, draws)
    assert {"total"} <= theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        assert value.item() == pytest.approx(ours[name].item(), rel=1e-4)


def test_a_step_trains_the_student_and_moves_the_average_alone(both):
    found, _, _, reference, _ = both
    frozen = (reference.teacher, reference.vae, reference.text_encoder)
    before = [copy.deepcopy(network.state_dict()) for network in (reference.student, reference.average, *frozen)]
    logged = reference.step(*_inputs(found, BATCH))
    networks = (reference.student, reference.average, *frozen)
    moved = [
        any(not torch.equal(value, old[name]) for name, value in network.state_dict().items())
        for network, old in zip(networks, before, strict=True)
    ]
    assert moved == [True, True, False, False, False]
    assert logged["bar/total"] == logged["total"] > 0
