"""Thirty-six real drawings (twelve concepts in each of three styles), and a toy model of 16 px."""

import json
import tarfile
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.evaluation.cells import EvaluationSet
from ldc.evaluation.features import efficientnet_lite0, extract
from ldc.models import Guidance, LatentDiffusion, freeze

ARCHIVE = Path(__file__).parents[2] / "assets" / "emoji64.tar.xz"
CONCEPTS = 12


@pytest.fixture(scope="session")
def records():
    with tarfile.open(ARCHIVE) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    samples = [json.loads(line) for line in files["samples.jsonl"].splitlines()]
    styles = {}
    for sample in samples:
        if sample["mini"]:
            styles.setdefault(sample["concept"], []).append(sample)
    complete = [rows for rows in styles.values() if len(rows) == 3]
    held_out = [rows for rows in complete if any(row["split"] != "train" for row in rows)]
    train = [rows for rows in complete if rows not in held_out]
    kept = held_out[:4] + train[: CONCEPTS - 4]
    return [{**row, "image": files[f"{row['key']}.webp"]} for rows in kept for row in rows]


@pytest.fixture(scope="session")
def real(records):
    return EvaluationSet.from_records(records)


@pytest.fixture(scope="session")
def extractor():
    return efficientnet_lite0()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder for the features of real images, filled by the first test that needs them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gallery(real, extractor):
    return extract(extractor, real.images)


@pytest.fixture(scope="session")
def toy():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[8, 16],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=4,
    )
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    text = CLIPTextModel(CLIPTextConfig(**sizes, **ends, max_position_embeddings=8, vocab_size=54))
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=8)
    process = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return LatentDiffusion(
        freeze(unet), freeze(vae), freeze(text), tokenizer, process, Guidance("cfg", 2.0, (1.0, 5.0))
    )
