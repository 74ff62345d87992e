import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler

from ldc.diffusion.sampling import default_method, fresh_noise_seeds, initial_noise, sample

SHAPE = (4, 8, 8)
PROCESS = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def tiny_unet(**changes):
    torch.manual_seed(0)
    config = {
        "sample_size": 8,
        "block_out_channels": [8, 16],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": 8,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(config | changes)).eval()


@pytest.fixture(scope="module")
def unet():
    return tiny_unet()


@pytest.fixture(scope="module")
def guided_unet():
    return tiny_unet(time_cond_proj_dim=32)


@pytest.fixture(scope="module")
def text():
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1))


def draw(unet, text, indices=(0, 1, 2), **changes):
    options = {"steps": 3, "guidance_scale": 3.0} | changes
    return sample(
        unet,
        options.pop("scheduler_config", PROCESS),
        text=text[list(indices)],
        empty_text=text[3:],
        noise=initial_noise(0, indices, SHAPE),
        seeds=fresh_noise_seeds(0, indices),
        **options,
    )


def pipeline(kind, unet, scheduler):
    frozen = dict.fromkeys(("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    pipe = kind(unet=unet, scheduler=scheduler, **frozen, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock(unet, text, scheduler, **options):
    return pipeline(StableDiffusionPipeline, unet, scheduler)(
        prompt_embeds=text[:3],
        negative_prompt_embeds=text[3:].expand(3, -1, -1),
        latents=initial_noise(0, range(3), SHAPE),
        height=8,
        width=8,
        output_type="latent",
        **options,
    ).images


def timesteps_seen(unet, text, **options):
    seen = []
    hook = unet.register_forward_pre_hook(lambda _, args: seen.append(int(args[1])))
    draw(unet, text, indices=[0], **options)
    hook.remove()
    return seen


def test_ddim_equals_the_stock_pipeline(unet, text):
    scheduler = DDIMScheduler(**PROCESS, clip_sample=False, timestep_spacing="trailing")
    expected = stock(unet, text, scheduler, num_inference_steps=5, guidance_scale=3.0, eta=0.0)
    torch.testing.assert_close(draw(unet, text, steps=5), expected, rtol=1e-5, atol=1e-5)


def test_lcm_with_embedded_guidance_equals_the_stock_pipeline(guided_unet, text):
    generators = [torch.Generator().manual_seed(seed) for seed in fresh_noise_seeds(0, range(3))]
    scheduler = LCMScheduler(**PROCESS)
    expected = stock(guided_unet, text, scheduler, num_inference_steps=4, guidance_scale=3.0, generator=generators)
    ours = draw(guided_unet, text, steps=4, convention="embedded", method="lcm")
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_image_to_image_equals_the_stock_pipeline(unet, text):
    init = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))
    scheduler = DDIMScheduler(**PROCESS, clip_sample=False, timestep_spacing="trailing")
    expected = pipeline(StableDiffusionImg2ImgPipeline, unet, scheduler)(
        prompt_embeds=text[:3],
        negative_prompt_embeds=text[3:].expand(3, -1, -1),
        image=init,
        strength=0.5,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(5))
    options = {"text": text[:3], "empty_text": text[3:], "noise": noise, "steps": 4, "guidance_scale": 3.0}
    ours = sample(unet, PROCESS, **options, init_latents=init, strength=0.5)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["ddim", "lcm"])
def test_an_image_does_not_depend_on_its_batch(unet, text, method):
    together = draw(unet, text, method=method)
    alone = torch.cat([draw(unet, text, indices=[i], method=method) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_initial_noise_is_a_function_of_seed_and_index():
    noise = initial_noise(7, range(6), SHAPE)
    assert torch.equal(initial_noise(7, [5, 2], SHAPE), noise[[5, 2]])
    assert not torch.equal(initial_noise(8, [5, 2], SHAPE), noise[[5, 2]])


def test_sampling_leaves_the_global_generator_alone(unet, text):
    before = torch.get_rng_state()
    draw(unet, text, method="lcm")
    assert torch.equal(torch.get_rng_state(), before)


def test_scale_one_is_the_conditional_model(unet, text):
    torch.testing.assert_close(draw(unet, text, guidance_scale=1.0), draw(unet, text, convention="none"))


def test_embedded_guidance_changes_the_image(guided_unet, text):
    options = {"convention": "embedded", "method": "lcm", "steps": 1}
    one, other = (draw(guided_unet, text, guidance_scale=scale, **options) for scale in (2.0, 4.0))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [999]), (2, [999, 499]), (3, [999, 679, 339]), (4, [999, 759, 499, 259])]
)
def test_lcm_visits_the_published_timesteps(unet, text, steps, expected):
    assert timesteps_seen(unet, text, method="lcm", steps=steps) == expected


def test_lcm_at_half_strength_keeps_its_steps(unet, text):
    init = torch.zeros(1, *SHAPE)
    seen = timesteps_seen(unet, text, method="lcm", steps=4, init_latents=init, strength=0.5)
    assert seen == [499, 379, 259, 139]


def test_ddim_starts_at_the_last_timestep(unet, text):
    assert timesteps_seen(unet, text, steps=4) == [999, 749, 499, 249]


def test_ddim_takes_sixty_one_steps_where_rounding_would_make_sixty_two(unet, text):
    seen = timesteps_seen(unet, text, steps=61, convention="none")
    assert (len(seen), min(seen) >= 0) == (61, True)


def test_full_strength_ignores_the_initial_latents(unet, text):
    init = torch.ones(3, *SHAPE)
    assert torch.equal(draw(unet, text, init_latents=init, strength=1.0), draw(unet, text))


def test_latents_are_not_clipped_to_the_range_of_pixels(unet, text):
    clipping = {**PROCESS, "clip_sample": True, "prediction_type": "epsilon"}
    assert draw(unet, text, scheduler_config=clipping, steps=1).abs().max() > 1.0


def test_half_precision_networks_return_float32_latents(text):
    latents = draw(tiny_unet().bfloat16(), text)
    assert latents.dtype == torch.float32
    assert latents.isfinite().all()


def test_a_config_saved_by_lcm_is_sampled_by_lcm():
    assert default_method({"_class_name": "LCMScheduler"}) == "lcm"
    assert default_method({"_class_name": "PNDMScheduler"}) == "ddim"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "euler"}, "method must be ddim or lcm, not 'euler'."),
        ({"convention": "both"}, "convention must be cfg, embedded or none, not 'both'."),
        ({"steps": 0}, "steps must be at least 1, not 0."),
        ({"steps": 51, "method": "lcm"}, "steps must be at most 50 for lcm at strength 1.0, not 51."),
        ({"init_latents": torch.zeros(3, *SHAPE), "strength": 0.0}, r"strength must be in \(0, 1\], not 0.0."),
        ({"init_latents": torch.zeros(3, *SHAPE), "strength": 0.2}, "steps x strength must be at least 1"),
        ({"convention": "embedded"}, "must have a U-Net with time_cond_proj_dim"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(unet, text, options, message):
    with pytest.raises(ValueError, match=message):
        draw(unet, text, **options)


def test_lcm_needs_a_seed_for_each_image(unet, text):
    options = {"text": text[:2], "empty_text": text[3:], "noise": initial_noise(0, [0, 1], SHAPE)}
    with pytest.raises(ValueError, match="one seed for each of the 2 images, not 1"):
        sample(unet, PROCESS, **options, steps=2, guidance_scale=1.0, seeds=[1], method="lcm")
