import pytest
import torch

from ldc.runtime.benchmarks.cases import Macs, check_ratios
from ldc.runtime.benchmarks.scaling import materialised, meta_networks, scaled


def test_scale_one_is_the_published_architecture():
    unet, vae, text_encoder = meta_networks(scaled("sd14", 1))
    assert sum(parameter.numel() for parameter in unet.parameters()) == 859_520_964
    assert (vae.config.sample_size, text_encoder.config.max_position_embeddings) == (512, 77)


def test_latents_and_text_states_of_a_scaled_model_fit_its_unet():
    configs = scaled("sd14", 2)
    assert configs.vae["sample_size"] // 8 == configs.unet["sample_size"] == 32
    assert configs.text_encoder["hidden_size"] == configs.unet["cross_attention_dim"]


def test_a_scale_that_does_not_divide_the_widths_is_refused():
    with pytest.raises(ValueError, match="whose square divides all widths of sd14, not 3"):
        scaled("sd14", 3)


def test_an_architecture_that_training_does_not_know_is_refused():
    with pytest.raises(ValueError, match="architecture must have a U-Net without added conditions"):
        scaled("sdxl_base", 1)


def test_a_network_is_made_with_finite_weights_in_its_final_precision():
    unet, *_ = meta_networks(scaled("sd14", 4))
    made = materialised(unet, torch.bfloat16)
    assert all(parameter.dtype == torch.bfloat16 and parameter.isfinite().all() for parameter in made.parameters())
    assert made.conv_in.weight.std() > 0
    assert (made.conv_norm_out.weight == 1).all()
    assert all(parameter.is_meta for parameter in unet.parameters())


def test_a_network_with_buffers_is_not_given_weights():
    with torch.device("meta"), pytest.raises(ValueError, match="must have no buffers"):
        materialised(torch.nn.BatchNorm1d(2))


def test_a_share_of_the_work_that_is_off_is_refused():
    full = Macs(vae=140, text=2, teacher=100, student=60)
    assert check_ratios(Macs(14, 0.2, 10, 6), full, 0.05) == pytest.approx({"vae": 1, "text": 1, "student": 1})
    with pytest.raises(ValueError, match=r"student must cost within 5% of its share at full size, not \+16.7%"):
        check_ratios(Macs(14, 0.2, 10, 7), full, 0.05)
