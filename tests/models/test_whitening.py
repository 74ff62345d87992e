import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ldc.models.whitening import whiten


def make_vae(**config):
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **config,
    ).double()


@pytest.fixture(scope="module")
def images():
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


@pytest.fixture(scope="module")
@torch.no_grad()
def before_and_after(images):
    """(posterior, reconstruction of the mean, of a sample) of one autoencoder before and after whitening."""
    vae, noise = make_vae(), torch.randn(6, 4, 8, 8, dtype=torch.float64)

    def look():
        posterior = vae.encode(images).latent_dist
        return posterior, vae.decode(posterior.mean).sample, vae.decode(posterior.mean + posterior.std * noise).sample

    before = look()
    whiten(vae, images.split(4))
    return before, look(), vae


def test_reconstruction_is_unchanged(before_and_after):
    (_, before, sampled_before), (_, after, sampled_after), _ = before_and_after
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(sampled_after, sampled_before, rtol=1e-9, atol=1e-9)


def test_every_latent_channel_has_zero_mean_and_unit_variance(before_and_after):
    _, (posterior, _, _), vae = before_and_after
    channels = posterior.mean.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(4).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(channels.var(1, correction=0), torch.ones(4).double(), rtol=1e-6, atol=0)
    assert vae.config.scaling_factor == 1


def test_posterior_deviation_keeps_its_ratio_to_that_of_the_means(before_and_after):
    (before, _, _), (after, _, _), _ = before_and_after
    deviation = before.mean.transpose(0, 1).flatten(1).std(1, correction=0).view(1, -1, 1, 1)
    torch.testing.assert_close(after.std, before.std / deviation, rtol=1e-6, atol=0)


def test_an_autoencoder_without_the_convolutions_is_refused(images):
    with pytest.raises(ValueError, match="must have quant_conv"):
        whiten(make_vae(use_quant_conv=False), [images])


def test_a_channel_that_does_not_vary_is_refused(images):
    vae = make_vae()
    vae.quant_conv.weight.data.zero_()
    with pytest.raises(ValueError, match="must vary over the images"):
        whiten(vae, [images])


def test_whitening_by_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        whiten(make_vae(), [])
