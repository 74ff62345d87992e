import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from ldc.diffusion.process import Process

CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
TYPES = ("epsilon", "v_prediction", "sample")


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64).to(dtype)
    return x_0, eps, torch.tensor([0, 19, 999])


@pytest.mark.parametrize("prediction_type", TYPES)
def test_a_perfect_output_converts_back_to_clean_latents_and_noise(prediction_type):
    process = Process.from_config({**CONFIG, "prediction_type": prediction_type})
    x_0, eps, t = tensors()
    x_t, output = process.noisy(x_0, eps, t), process.target(x_0, eps, t)
    torch.testing.assert_close(process.x_0(output, x_t, t), x_0, rtol=0, atol=1e-12)
    torch.testing.assert_close(process.eps(output, x_t, t), eps, rtol=0, atol=1e-12)


def test_noisy_latents_and_velocity_equal_diffusers():
    scheduler = DDPMScheduler.from_config({**CONFIG, "prediction_type": "v_prediction"})
    process = Process.from_config(scheduler.config)
    x_0, eps, t = tensors()
    assert torch.equal(process.noisy(x_0, eps, t), scheduler.add_noise(x_0, eps, t))
    assert torch.equal(process.target(x_0, eps, t), scheduler.get_velocity(x_0, eps, t))


def test_half_precision_latents_are_diffused_in_float32():
    process = Process.from_config(CONFIG)
    x_0, eps, t = tensors(torch.bfloat16)
    x_t = process.noisy(x_0, eps, t)
    assert x_t.dtype == torch.float32
    assert torch.equal(x_t, process.noisy(x_0.float(), eps.float(), t))


def test_another_schedulers_config_gives_the_same_process():
    config = {**CONFIG, "_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False}
    assert torch.equal(Process.from_config(config).alphas_cumprod, Process.from_config(CONFIG).alphas_cumprod)


def test_an_unknown_prediction_type_is_refused():
    with pytest.raises(ValueError, match="prediction_type must be epsilon, v_prediction or sample, not 'velocity'"):
        Process.from_config({**CONFIG, "prediction_type": "velocity"})
