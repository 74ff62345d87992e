import json
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import (
    LatentConsistencyModelPipeline,
)
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from torch._subclasses.fake_tensor import FakeTensorMode

from ldc.diffusion.consistency import boundary_scalings, guidance_embedding
from ldc.diffusion.process import Process

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "kd_lcm.json").read_text())["lcm"]
CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}


@pytest.mark.parametrize("t", [0, 1, 19, 39, 499, 999])
def test_boundary_scalings_are_the_published_ones(t):
    scalings = boundary_scalings(torch.tensor([t]), dtype=torch.float64)
    assert [s.item() for s in scalings] == pytest.approx(GOLDEN[f"c_skip/c_out@{t}"], rel=1e-12)


def test_boundary_scalings_at_zero_are_exact_in_float32():
    assert [s.item() for s in boundary_scalings(torch.tensor([0]))] == [1.0, 0.0]


def test_guidance_embedding_has_the_golden_rows():
    embedding = guidance_embedding(torch.tensor([0.0, 7.5, 14.0], dtype=torch.float64), 256)
    assert list(embedding.shape) == GOLDEN["w_emb"]["shape"]
    assert embedding.sum(1).tolist() == pytest.approx(GOLDEN["w_emb"]["row_sums"], rel=1e-9)
    assert embedding[1, :3].tolist() == pytest.approx(GOLDEN["w_emb"]["e1_first"], rel=1e-9)
    assert embedding[1, 128:131].tolist() == pytest.approx(GOLDEN["w_emb"]["e1_cos_first"], rel=1e-9)


def test_guidance_embedding_equals_the_latent_consistency_pipelines():
    w = torch.tensor([0.0, 7.5, 14.0])
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, embedding_dim=256)
    assert torch.equal(guidance_embedding(w, 256), theirs)


@pytest.mark.parametrize("dim", [0, 2, 255])
def test_an_odd_or_tiny_embedding_is_refused(dim):
    with pytest.raises(ValueError, match=f"must be even and at least 4, not {dim}."):
        guidance_embedding(torch.ones(1), dim)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 8])
def test_sampling_timesteps_are_the_published_ones_and_lie_on_the_solvers_grid(steps):
    scheduler = LCMScheduler.from_config(CONFIG)
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == GOLDEN[f"lcm_timesteps_{steps}"]
    assert {(t + 1) % 20 for t in scheduler.timesteps.tolist()} == {0}


def test_half_strength_and_a_finer_origin_give_the_published_timesteps():
    scheduler = LCMScheduler.from_config(CONFIG)
    scheduler.set_timesteps(4, strength=0.5)
    assert scheduler.timesteps.tolist() == [499, 379, 259, 139]
    scheduler.set_timesteps(4, original_inference_steps=100)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    with pytest.raises(ValueError, match="51"):
        scheduler.set_timesteps(51)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_sampler_uses_the_consistency_function_that_is_trained(prediction_type):
    scheduler = LCMScheduler.from_config({**CONFIG, "prediction_type": prediction_type})
    process = Process.from_config(scheduler.config)
    scheduler.set_timesteps(4)
    x, output = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    for t, following in zip(scheduler.timesteps, [*scheduler.timesteps[1:], None], strict=True):
        c_skip, c_out = boundary_scalings(t.reshape(1))
        clean = c_skip * x + c_out * process.x_0(output, x, t.reshape(1))
        answer = scheduler.step(output, t, x, generator=torch.Generator().manual_seed(7))
        torch.testing.assert_close(answer.denoised, clean, rtol=1e-5, atol=1e-5)
        if following is None:
            assert torch.equal(answer.prev_sample, answer.denoised)
        else:
            fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
            renoised = process.noisy(clean, fresh, following.reshape(1))
            torch.testing.assert_close(answer.prev_sample, renoised, rtol=1e-5, atol=1e-5)


def test_an_embedding_of_fake_tensors_leaves_nothing_for_real_ones():
    with FakeTensorMode():
        guidance_embedding(torch.ones(1), 22)
    assert type(guidance_embedding(torch.ones(1), 22)) is torch.Tensor
