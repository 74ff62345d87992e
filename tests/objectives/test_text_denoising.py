import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.data.builders.tokenizer import build_tokenizer
from ldc.data.draws import is_dropped
from ldc.diffusion.process import Process
from ldc.objectives.base import Networks
from ldc.objectives.denoising import Denoising
from ldc.objectives.text_denoising import TextConditioned, TextDenoising

CAPTIONS = ["red apple", "green pear", "red pear", "green apple"]
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def make_student(width=16):
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        block_out_channels=[8, 16],
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    )
    sizes = {"vocab_size": 600, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextModel(CLIPTextConfig(hidden_size=width, projection_dim=width, max_position_embeddings=24, **sizes))
    return TextConditioned(unet, text)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(CAPTIONS, size=600)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def process(request):
    return Process.from_config({**SCHEDULE, "prediction_type": request.param})


@pytest.fixture(scope="module")
def student():
    return make_student()


def make_batch(first=0):
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(None, latents, CAPTIONS, torch.arange(first, first + 4), CAPTIONS)


def test_loss_equals_denoising_with_the_encoded_captions(student, process, tokenizer):
    objective, batch = TextDenoising(process, tokenizer), make_batch()
    draws = objective.draw(batch, seed=2)
    tokens = tokenizer(CAPTIONS, padding="max_length", return_tensors="pt").input_ids
    text = student.text_encoder(tokens)[0]
    encoded = LatentBatch(batch.latents, text, text[:1], batch.positions, batch.keys)
    expected = Denoising(process).losses(Networks(student.unet), encoded, draws)["total"]
    total = objective.losses(Networks(student), batch, draws)["total"]
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0)


def test_gradients_reach_the_text_encoder(student, process, tokenizer):
    student.zero_grad()
    TextDenoising(process, tokenizer)(Networks(student), make_batch())["total"].backward()
    gradients = [p.grad for p in student.text_encoder.parameters()]
    assert all(g is not None for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)


def test_strata_cover_the_timesteps_evenly(process, tokenizer):
    timesteps = TextDenoising(process, tokenizer, num_strata=4).draw(make_batch(first=8), seed=0).timesteps
    assert sorted((timesteps // 250).tolist()) == [0, 1, 2, 3]
    gaps = timesteps.sort().values.diff()
    assert gaps.min() >= 249
    assert gaps.max() <= 251


def test_strata_differ_from_cycle_to_cycle(process, tokenizer):
    objective = TextDenoising(process, tokenizer, num_strata=4)
    first, second = (objective.draw(make_batch(first), seed=0).timesteps for first in (0, 4))
    assert not torch.equal(first, second)


def test_draws_belong_to_the_position_not_to_the_batch(process, tokenizer):
    objective = TextDenoising(process, tokenizer, num_strata=4)
    long, short = objective.draw(make_batch(0), seed=0), objective.draw(make_batch(2), seed=0)
    assert torch.equal(long.timesteps[2:], short.timesteps[:2])
    assert torch.equal(long.noise[2:], short.noise[:2])


def test_dropped_captions_are_those_that_a_reader_drops(process, tokenizer):
    objective = TextDenoising(process, tokenizer, caption_dropout=0.5, seed=5)
    tokens = objective.tokens(["apple"] * 4, torch.arange(4))
    dropped = [row[1] == tokenizer.eos_token_id for row in tokens.tolist()]
    assert dropped == [is_dropped(5, position, 0.5) for position in range(4)]
    assert len(set(dropped)) == 2


def test_text_encoder_learns_at_a_fraction_of_the_rate(student):
    unet, text = student.parameter_groups(8e-4, text_lr_ratio=0.25)
    assert (unet["lr"], text["lr"]) == (8e-4, 2e-4)
    assert len(unet["params"]) + len(text["params"]) == len(list(student.parameters()))


def test_text_encoder_of_another_width_is_refused():
    with pytest.raises(ValueError, match="cross_attention_dim 16, not 8"):
        make_student(width=8)


def test_pixels_are_refused(process, tokenizer):
    batch = make_batch()._replace(latents=None, pixels=torch.zeros(4, 3, 16, 16))
    with pytest.raises(ValueError, match="batch must hold latents"):
        TextDenoising(process, tokenizer).draw(batch, seed=0)


@pytest.mark.parametrize(("name", "value"), [("caption_dropout", 1.5), ("num_strata", 0)])
def test_settings_outside_their_range_are_refused(process, tokenizer, name, value):
    with pytest.raises(ValueError, match=name):
        TextDenoising(process, tokenizer, **{name: value})
