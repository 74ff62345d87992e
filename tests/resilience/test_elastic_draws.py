"""Four ranks, then two, then one: every sample gets the latents, text, timestep, noise and guidance that it would."""

from collections import defaultdict

import pytest

from ldc.training.csv_log import read

pytestmark = pytest.mark.integration
PATIENCE = 60.0
STEPS = 6


@pytest.fixture
def run(encoded, train, forked):
    def call(folder, world_size, **options):
        group = forked(lambda: train(encoded, folder, world_size=world_size, **options), folder, world_size)
        assert group.wait(PATIENCE) == [0] * world_size, group.log()

    return call


@pytest.fixture
def taken(records):
    """Returns what all ranks were given in each step, in the stream's order."""

    def call(folder):
        steps = defaultdict(list)
        for path in folder.glob("record-*.txt"):
            for record in records(folder, int(path.stem.removeprefix("record-"))):
                steps[record.step] += record.samples
        return {step: sorted(samples, key=lambda sample: int(sample.split(":")[0])) for step, samples in steps.items()}

    return call


def test_four_ranks_two_ranks_and_one_take_the_same_draws(run, taken, tmp_path):
    straight, moved = tmp_path / "straight", tmp_path / "moved"
    run(straight, 1, steps=STEPS)
    run(moved, 4, steps=2)
    run(moved, 2, steps=4, workers=2)
    run(moved, 1, steps=STEPS, workers=2, accumulate=2)

    assert taken(moved) == taken(straight)
    assert list(taken(straight)) == list(range(STEPS))
    losses = [[float(row["train/total"]) for row in read(folder / "metrics.csv")] for folder in (straight, moved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
