"""A toy text-to-image model with every part of Stable Diffusion, in half a million parameters."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.models import Guidance, LatentDiffusion, freeze, save_student
from ldc.surgery import Plan

SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "steps_offset": 1,
}


def toy_unet(**changes):
    torch.manual_seed(0)
    config = {
        "sample_size": 16,
        "in_channels": 8,
        "out_channels": 8,
        "block_out_channels": [8, 16, 32, 32],
        "attention_head_dim": [1, 2, 4, 4],
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
    }
    return freeze(UNet2DConditionModel(**(config | changes)))


def toy_tokenizer():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=12)


@pytest.fixture(scope="session")
def toy_parts():
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[8, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        latent_channels=8,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=64,
    )
    text = CLIPTextConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        vocab_size=54,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LatentDiffusion(
        toy_unet(),
        freeze(vae),
        freeze(CLIPTextModel(text)),
        toy_tokenizer(),
        dict(SCHEDULER),
        Guidance("cfg", 2.0, (1.5, 5.0)),
    )


@pytest.fixture(scope="session")
def teacher_folder(toy_parts, tmp_path_factory):
    """The toy teacher as a StableDiffusionPipeline folder."""
    return save_student(tmp_path_factory.mktemp("teacher"), toy_parts.unet, Plan(), toy_parts)
