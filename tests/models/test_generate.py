import dataclasses

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from PIL import Image

from ldc.diffusion.sampling import initial_noise
from ldc.models.generate import checked_guidance, embed, encode_image, generate, latent_shape, render

PROMPTS = ["red apple", 'a "b", (c) = d']


def largest_difference(one, other):
    return max(int(np.abs(np.int16(a) - np.int16(b)).max()) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def picture():
    gradient = np.linspace(0, 255, 80, dtype=np.uint8)
    channels = np.broadcast_arrays(gradient[:, None], gradient[None, :], np.uint8(128))
    return Image.fromarray(np.stack(channels, axis=2))


def test_images_equal_those_of_the_stock_pipeline(toy_parts):
    pipeline = StableDiffusionPipeline(
        vae=toy_parts.vae,
        text_encoder=toy_parts.text_encoder,
        tokenizer=toy_parts.tokenizer,
        unet=toy_parts.unet,
        scheduler=DDIMScheduler.from_config(toy_parts.scheduler_config, timestep_spacing="trailing"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = initial_noise(3, range(2), latent_shape(toy_parts))
    expected = pipeline(PROMPTS, latents=noise, num_inference_steps=3, guidance_scale=2.5).images
    ours = generate(toy_parts, PROMPTS, steps=3, guidance_scale=2.5, seed=3)
    assert largest_difference(ours, expected) <= 1


def test_images_do_not_depend_on_the_batch_size(toy_parts):
    one, other = (generate(toy_parts, PROMPTS, steps=2, seed=0, batch_size=size) for size in (1, 2))
    assert largest_difference(one, other) <= 1


def test_an_image_is_known_by_its_index(toy_parts):
    both = render(toy_parts, PROMPTS, steps=2, seed=0)
    second = render(toy_parts, PROMPTS[1:], steps=2, seed=0, indices=[1])
    torch.testing.assert_close(second[0].int(), both[1].int(), rtol=0, atol=1)


def test_seeds_give_different_images(toy_parts):
    one, other = (generate(toy_parts, PROMPTS, steps=1, seed=seed) for seed in (0, 1))
    assert largest_difference(one, other) > 1


def test_cached_text_gives_the_same_images(toy_parts):
    cached = render(toy_parts, PROMPTS, steps=1, seed=0, text=embed(toy_parts, PROMPTS))
    assert torch.equal(cached, render(toy_parts, PROMPTS, steps=1, seed=0))


def test_each_caption_is_encoded_once(toy_parts):
    assert list(embed(toy_parts, ["a", "b", "a"], batch_size=2)) == ["", "a", "b"]


def test_an_initial_image_is_encoded_as_the_stock_pipeline_does(toy_parts, picture):
    pixels = VaeImageProcessor(vae_scale_factor=4).preprocess(picture, height=64, width=64)
    expected = toy_parts.vae.encode(pixels).latent_dist.mode() * toy_parts.vae.config.scaling_factor
    torch.testing.assert_close(encode_image(toy_parts, picture), expected, rtol=1e-4, atol=1e-4)


def test_an_initial_image_changes_the_result_below_full_strength(toy_parts, picture):
    options = {"steps": 2, "seed": 0}
    without = generate(toy_parts, PROMPTS, **options)
    half = generate(toy_parts, PROMPTS, **options, init_image=picture, strength=0.5)
    full = generate(toy_parts, PROMPTS, **options, init_image=picture, strength=1.0)
    assert largest_difference(half, without) > 1
    assert largest_difference(full, without) == 0


@pytest.mark.parametrize("scale", [1.4, 5.1])
def test_guidance_outside_the_trained_range_is_refused(toy_parts, scale):
    trained = dataclasses.replace(toy_parts, guidance=toy_parts.guidance._replace(convention="embedded"))
    with pytest.raises(ValueError, match=rf"guidance_scale must be in \[1.5, 5\], .* not {scale}"):
        generate(trained, PROMPTS, steps=1, guidance_scale=scale, seed=0)


def test_classifier_free_guidance_takes_any_scale_from_zero(toy_parts):
    assert checked_guidance(toy_parts.guidance, 0) == 0
    assert checked_guidance(toy_parts.guidance, 30) == 30
    with pytest.raises(ValueError, match="guidance_scale must be at least 0, not -1"):
        checked_guidance(toy_parts.guidance, -1)


def test_the_default_guidance_is_the_models_own(toy_parts):
    given = generate(toy_parts, PROMPTS, steps=1, guidance_scale=toy_parts.guidance.default, seed=0)
    assert largest_difference(given, generate(toy_parts, PROMPTS, steps=1, seed=0)) == 0


def test_strength_without_an_image_is_refused(toy_parts):
    with pytest.raises(ValueError, match=r"strength must be 1 where there is no init_image, not 0.5."):
        generate(toy_parts, PROMPTS, steps=1, seed=0, strength=0.5)


def test_few_step_sampling_follows_the_scheduler_config(toy_parts):
    config = {**toy_parts.scheduler_config, "_class_name": "LCMScheduler"}
    lcm = dataclasses.replace(toy_parts, scheduler_config=config)
    one, other = (generate(parts, PROMPTS, steps=2, seed=0) for parts in (toy_parts, lcm))
    assert largest_difference(one, other) > 1
