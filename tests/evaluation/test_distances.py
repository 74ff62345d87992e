import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ldc.evaluation.distances import Projection, frechet64, kid, nearest_distance
from ldc.evaluation.features import extract


@pytest.fixture(scope="module")
def ruined(real, extractor):
    """Features of every second drawing under noise and at 8 px."""
    images = real.images[::2].float()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    small = F.interpolate(F.interpolate(images, size=8, mode="bilinear", antialias=True), size=64, mode="bilinear")
    versions = {"noise": images + 60 * noise, "small": small}
    return {name: extract(extractor, pixels.clamp(0, 255).byte()) for name, pixels in versions.items()}


@pytest.mark.parametrize("name", ["noise", "small"])
def test_ruined_images_have_a_larger_kid(gallery, ruined, name):
    halves = kid(gallery[::2], gallery[1::2])
    assert kid(ruined[name], gallery[1::2])["kid"] > halves["kid"] + 5 * halves["kid_std"]


@pytest.mark.parametrize("name", ["noise", "small"])
def test_ruined_images_have_a_larger_frechet_distance(gallery, ruined, name):
    assert frechet64(ruined[name], gallery[1::2]) > 1.2 * frechet64(gallery[::2], gallery[1::2])


def test_kid_is_the_mean_of_unbiased_mmd():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64)
    other = torch.stack([other[0]] * 8)  # every subset of equal rows is the same: the mean has a closed form
    one = torch.stack([one[0]] * 8)

    def kernel(x, y):
        return (x @ y / 16 + 1) ** 3

    expected = kernel(one[0], one[0]) + kernel(other[0], other[0]) - 2 * kernel(one[0], other[0])
    assert kid(one, other)["kid"] == pytest.approx(expected.item(), rel=1e-9)


def test_kid_is_deterministic_and_leaves_the_global_generator_alone(gallery, ruined):
    before = torch.get_rng_state()
    assert kid(ruined["noise"], gallery) == kid(ruined["noise"], gallery)
    assert torch.equal(torch.get_rng_state(), before)


def test_frechet_distance_of_shifted_features_is_the_squared_shift_of_the_projection():
    features = torch.randn(100, 32, generator=torch.Generator().manual_seed(0))
    shift = torch.linspace(-1, 1, 32)
    expected = Projection(32)(shift[None]).square().sum().item()
    assert frechet64(features + shift, features) == pytest.approx(expected, rel=1e-4)


def test_the_projection_is_fixed_and_keeps_lengths_on_average():
    features = torch.randn(200, 1280, generator=torch.Generator().manual_seed(0))
    projected = Projection(1280)(features)
    assert projected.shape == (200, 64)
    assert torch.equal(projected, Projection(1280)(features))
    assert projected.square().sum().item() == pytest.approx(features.square().sum().item(), rel=0.05)


def test_a_copy_is_at_distance_zero_from_training(gallery):
    assert nearest_distance(gallery[:5], gallery) == pytest.approx(0.0, abs=1e-5)


def test_the_nearest_distance_is_the_median_over_images():
    angles = torch.tensor([0.0, 60.0, 90.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert nearest_distance(features, torch.tensor([[2.0, 0.0]])) == pytest.approx(1 - np.cos(np.pi / 3), abs=1e-6)


def test_too_few_images_are_refused(gallery):
    with pytest.raises(ValueError, match="at least 4 images on each side, not 3"):
        kid(gallery[:3], gallery)
    with pytest.raises(ValueError, match="at least 2 images on each side, not 1"):
        frechet64(gallery[:1], gallery)
