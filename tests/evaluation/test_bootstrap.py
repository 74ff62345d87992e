import pytest
import torch

from ldc.evaluation.bootstrap import Sampled, difference, interval, kid, resample, share

N, SEEDS = 60, 3


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(values, counts):
    """A mean of one number a prompt, which `share` is for numbers 0 and 1."""
    return Sampled(values.mean().item(), counts @ values / counts.sum(dim=1))


def coverage(training, prompt, noise, trials=400):
    """Share of intervals that hold the true mean 0, where trainings, prompts and images deviate by these."""
    counts, held = resample(N, 400), 0
    for trial in range(trials):
        runs = training * normals(SEEDS, 1, seed=3 * trial)
        prompts = prompt * normals(1, N, seed=3 * trial + 1)
        values = runs + prompts + noise * normals(SEEDS, N, seed=3 * trial + 2)
        found = interval([measured(row, counts) for row in values])
        held += found.low <= 0.0 <= found.high
    return held / trials


@pytest.mark.parametrize("deviations", [(0.0, 1.0, 0.3), (0.3, 0.0, 0.3), (0.2, 1.0, 0.5)])
def test_an_interval_of_95_percent_holds_the_truth_about_that_often(deviations):
    assert 0.92 <= coverage(*deviations) <= 1.0


def test_an_interval_of_prompts_alone_is_not_too_wide():
    assert coverage(0.0, 1.0, 0.0) == pytest.approx(0.95, abs=0.03)


def test_a_paired_difference_leaves_out_what_prompts_do_to_both():
    counts = resample(N, 500)
    prompts = 5 * normals(N)
    one = [measured(prompts + 0.5 + 0.1 * normals(N, seed=seed), counts) for seed in (1, 2, 3)]
    other = [measured(prompts + 0.1 * normals(N, seed=seed), counts) for seed in (4, 5, 6)]
    found = interval(difference(one, other))
    assert found.low < 0.5 < found.high
    assert found.low > 0.3
    assert interval(one).high - interval(one).low > 2.0


def test_a_share_is_resampled_over_the_images():
    right = torch.tensor([True] * 6 + [False] * 2)
    sampled = share(right, torch.tensor([[1.0] * 8, [0.0] * 6 + [4.0] * 2], dtype=torch.float64))
    assert sampled.value == 0.75
    assert sampled.replicates.tolist() == [0.75, 0.0]


def test_kid_is_the_mean_over_pairs_of_different_prompts_also_where_a_replicate_repeats_one():
    generated, real = normals(3, 5), normals(3, 5, seed=1)
    kernel = lambda x, y: (x @ y / 5 + 1) ** 3  # noqa: E731

    def h(i, j):
        same = kernel(generated[i], generated[j]) + kernel(real[i], real[j])
        return (same - kernel(generated[i], real[j]) - kernel(generated[j], real[i])).item()

    counts = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
    sampled = kid(generated, real, torch.arange(3), counts)
    assert sampled.value == pytest.approx((h(0, 1) + h(0, 2) + h(1, 2)) / 3)
    assert sampled.replicates.tolist() == pytest.approx([h(0, 1)])


def test_replicates_of_kid_are_not_lower_than_kid_where_images_are_like_their_own_real_ones():
    real = normals(40, 8)
    sampled = kid(real + 0.1 * normals(40, 8, seed=1), real, torch.arange(40), resample(40, 2000))
    assert sampled.replicates.mean().item() == pytest.approx(sampled.value, abs=0.005)


def test_kid_of_two_samples_of_one_distribution_is_about_zero_and_its_interval_says_so():
    counts = resample(200, 300)
    seeds = [
        kid(normals(200, 8, seed=seed), normals(200, 8, seed=seed + 10), torch.arange(200), counts) for seed in range(3)
    ]
    found = interval(seeds)
    assert found.low < 0.0 < found.high
    assert abs(found.value) < 0.05


def test_kid_interval_holds_the_distance_of_a_known_shift():
    shift, size = 0.8, 8
    large = (normals(4000, size) + shift, normals(4000, size, seed=1))
    truth = kid(*large, torch.arange(4000), torch.ones(1, 4000, dtype=torch.float64)).value
    counts, held = resample(100, 300), 0
    for trial in range(40):
        features = normals(100, size, seed=10 + trial) + shift
        found = interval([kid(features, normals(100, size, seed=1000 + trial), torch.arange(100), counts)])
        held += found.low <= truth <= found.high
    assert held >= 34


def test_prompts_of_one_real_image_are_no_pair():
    generated, real = normals(3, 5), normals(2, 5, seed=1)
    whole = kid(generated[:2], real, torch.tensor([0, 1]), torch.ones(1, 2, dtype=torch.float64))
    counts = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    shared = kid(generated, real, torch.tensor([0, 1, 0]), counts)
    assert shared.replicates[0].item() == pytest.approx(whole.value)


def test_prompts_of_one_real_image_alone_are_refused():
    with pytest.raises(ValueError, match="at least 2 different real images, not 1"):
        kid(normals(3, 5), normals(1, 5), torch.zeros(3, dtype=torch.int64), resample(3, 2))


def test_the_same_prompts_are_resampled_at_every_call():
    assert torch.equal(resample(10, 5), resample(10, 5))
    assert resample(10, 5).sum(dim=1).tolist() == [10.0] * 5


def test_one_seed_is_resampled_over_prompts_alone():
    counts = resample(N, 300)
    alone = interval([measured(normals(N), counts)])
    assert alone.high - alone.low == pytest.approx(2 * 1.96 / N**0.5, rel=0.3)


@pytest.mark.parametrize(("prompts", "replicates"), [(1, 10), (4, 0)])
def test_what_cannot_be_resampled_is_refused(prompts, replicates):
    with pytest.raises(ValueError, match="must have at least 2 prompts and 1 replicate"):
        resample(prompts, replicates)


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="seeds must be at least one, not none"):
        interval([])
