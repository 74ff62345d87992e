import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ldc.data.batch import ImageTextBatch
from ldc.objectives.base import Networks
from ldc.objectives.reconstruction import (
    Autoencoding,
    Reconstruction,
    kl_to_standard_normal,
)


def make_vae():
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def make_batch(first=0, size=2):
    pixels = torch.rand(size, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return ImageTextBatch(pixels, None, [""] * size, torch.arange(first, first + size), [str(i) for i in range(size)])


@pytest.fixture(scope="module")
def vae():
    return make_vae()


@pytest.fixture
def objective():
    return Reconstruction(latent_channels=4, downscale=2)


def test_terms_equal_the_formulas_on_diffusers_posterior(vae, objective):
    batch = make_batch()
    draws = objective.draw(batch, seed=3)
    losses = objective.losses(Networks(Autoencoding(vae)), batch, draws)
    posterior = vae.encode(batch.pixels).latent_dist
    d = vae.decode(posterior.mean + posterior.std * draws.noise).sample - batch.pixels
    gradient = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    kl = posterior.kl().mean() / (4 * 8 * 8)
    expected = d.abs().mean() + d.pow(2).mean() + 0.5 * gradient + 1e-4 * kl
    torch.testing.assert_close(losses["kl"], kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["gradient"], gradient, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["total"], expected, rtol=1e-5, atol=0)


def test_kl_of_a_standard_normal_is_zero():
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_noise_belongs_to_the_position_not_to_the_batch(objective):
    both, second = objective.draw(make_batch(7, 2), seed=0).noise, objective.draw(make_batch(8, 1), seed=0).noise
    assert both.shape == (2, 4, 8, 8)
    assert torch.equal(both[1:], second)
    assert not torch.equal(both[:1], second)


def test_a_few_steps_reduce_the_loss(objective):
    student = Autoencoding(make_vae())
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    totals = []
    for _ in range(6):
        losses = objective(Networks(student), make_batch())
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        totals.append(losses["total"].item())
    assert totals[-1] < 0.9 * totals[0]


def test_latents_are_refused(objective):
    batch = make_batch()._replace(pixels=None, latents=torch.zeros(2, 4, 8, 8))
    with pytest.raises(ValueError, match="batch must hold pixels"):
        objective.draw(batch, seed=0)


def test_pixels_that_do_not_divide_are_refused(objective):
    batch = make_batch()
    with pytest.raises(ValueError, match="divisible by 2, not 16 x 15"):
        objective.draw(batch._replace(pixels=batch.pixels[..., :15]), seed=0)
