"""The frozen encoders: what they compute, and what their fingerprint stands for."""

import copy

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc.data.draws import sample_posterior
from ldc.data.encode import encode_shards
from ldc.data.encoders import FrozenEncoders
from ldc.data.latents import LatentDataset
from ldc.randomness import normal


def tokenizer(model_max_length=10):
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=model_max_length)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        scaling_factor=0.7,
    )
    config = CLIPTextConfig(
        vocab_size=54,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=10,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return vae, CLIPTextModel(config), tokenizer()


def test_captions_are_padded_and_cut_to_the_tokenizers_length(parts):
    states = FrozenEncoders(*parts).text(["a b", "", "a b c d e f g h i j k l m n"])
    assert states.shape == (3, 10, 16)
    assert not torch.equal(states[0], states[1])


def test_states_of_a_caption_do_not_depend_on_its_batch(parts):
    encoders = FrozenEncoders(*parts)
    together, alone = encoders.text(["a cat", "a dog on a mat"]), encoders.text(["a cat"])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_posterior_samples_are_those_of_diffusers_with_the_same_noise(parts):
    encoders = FrozenEncoders(*parts)
    moments = encoders.moments(torch.rand(3, 3, 16, 16) * 2 - 1)
    posterior = DiagonalGaussianDistribution(moments)
    noise = normal(5, "posterior", [7, 8, 9], (4, 8, 8))
    expected = 0.7 * (posterior.mean + posterior.std * noise)
    torch.testing.assert_close(sample_posterior(moments, encoders.scaling_factor, 5, [7, 8, 9]), expected)


def test_equal_encoders_have_the_same_fingerprint(parts):
    moved = copy.deepcopy(parts[0])
    moved.config["_name_or_path"] = "elsewhere"
    assert FrozenEncoders(moved, *parts[1:]).fingerprint == FrozenEncoders(*parts).fingerprint


def test_tokenising_does_not_change_the_fingerprint(parts):
    encoders = FrozenEncoders(*parts)
    encoders.text(["a cat"])
    assert FrozenEncoders(*parts).fingerprint == encoders.fingerprint


@pytest.mark.parametrize("part", [0, 1])
def test_one_changed_weight_changes_the_fingerprint(parts, part):
    changed = list(parts)
    changed[part] = copy.deepcopy(parts[part])
    with torch.no_grad():
        next(changed[part].parameters()).view(-1)[0] += 1
    assert FrozenEncoders(*changed).fingerprint != FrozenEncoders(*parts).fingerprint


def test_another_token_length_changes_the_fingerprint(parts):
    assert FrozenEncoders(*parts[:2], tokenizer(8)).fingerprint != FrozenEncoders(*parts).fingerprint


def test_shards_are_encoded_by_real_encoders(parts, tmp_path, write_shard):
    tar = write_shard(tmp_path / "a.tar", ["0000", "0001", "0002"])
    encoded = encode_shards([tar], FrozenEncoders(*parts), tmp_path / "out", size=16, progress=False)
    data = LatentDataset(encoded, seed=0)
    batch = data.collate([data[position] for position in range(4)])
    assert batch.latents.shape == (4, 4, 8, 8)
    assert batch.text.shape == (4, 10, 16)
    assert not encoded.manifest["skipped"]["counts"]


def test_captions_need_a_text_encoder(parts):
    with pytest.raises(ValueError, match="have no text encoder"):
        FrozenEncoders(parts[0]).text(["a"])


def test_a_text_encoder_needs_its_tokenizer(parts):
    with pytest.raises(ValueError, match="tokenizer must be given with a text encoder, not None"):
        FrozenEncoders(*parts[:2])


def test_a_vae_that_shifts_its_latents_is_refused(parts):
    shifted = copy.deepcopy(parts[0])
    shifted.register_to_config(shift_factor=0.1)
    with pytest.raises(ValueError, match=r"vae must have no shift_factor, not 0.1"):
        FrozenEncoders(shifted)
