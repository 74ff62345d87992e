"""The objectives that make a teacher, through the real training loop."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.optim import AdamW
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.data.batch import ImageTextBatch
from ldc.data.builders.tokenizer import build_tokenizer
from ldc.data.caption_module import CaptionStatesDataModule
from ldc.data.module import StreamDataModule
from ldc.diffusion.process import Process
from ldc.objectives.caption_states import CaptionStates, StateRegressor
from ldc.objectives.reconstruction import Autoencoding, Reconstruction
from ldc.objectives.text_denoising import TextConditioned, TextDenoising
from ldc.training import DistillationModule, fit

pytestmark = pytest.mark.integration
CAPTIONS = ["red apple", "green pear", "red pear", "green apple"]


class Held(StreamDataModule):
    """Four samples held in memory: pixels or latents."""

    def __init__(self, pixels=None, latents=None):
        super().__init__(batch_size=2, seed=0)
        self.pixels, self.latents, self.size = pixels, latents, 4

    def loader(self, consumed, finished, num_batches):
        return self._sampled(self, self.collate, consumed, finished, num_batches)

    def __getitem__(self, position):
        return position

    def collate(self, positions):
        places = [position % 4 for position in positions]
        pixels, latents = (None if held is None else held[places] for held in (self.pixels, self.latents))
        captions = [CAPTIONS[place] for place in places]
        return ImageTextBatch(pixels, latents, captions, torch.tensor(positions), captions)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(CAPTIONS * 2, size=600)


@pytest.fixture
def text_encoder():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=600, max_position_embeddings=24, **sizes))


def train(objective, student, data, folder, *, optimizer=lambda parameters: AdamW(parameters, lr=1e-3)):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    module = DistillationModule(objective, student, optimizer=optimizer, encode=lambda batch: batch)
    result = fit(module, data, folder=folder, max_steps=2, accelerator="cpu", devices=1, progress=False)
    changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    return result, changed


def test_autoencoder_trains(tmp_path):
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    data = Held(pixels=torch.rand(4, 3, 16, 16) * 2 - 1)
    result, changed = train(Reconstruction(4, 2), Autoencoding(vae), data, tmp_path)
    assert (result.steps, result.samples_seen) == (2, 4)
    assert changed == {f"vae.{name}" for name in vae.state_dict()}


def test_unet_and_text_encoder_train_at_their_own_rates(tmp_path, tokenizer, text_encoder):
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        block_out_channels=[8, 16],
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    )
    student = TextConditioned(unet, text_encoder)
    process = Process.from_config({"prediction_type": "v_prediction"})
    data = Held(latents=torch.randn(4, 4, 8, 8))
    groups = student.parameter_groups(lr=1e-3)
    optimizers = []

    def optimizer(_parameters):
        optimizers.append(AdamW(groups))
        return optimizers[0]

    _, changed = train(TextDenoising(process, tokenizer, num_strata=2), student, data, tmp_path, optimizer=optimizer)
    assert [group["lr"] for group in optimizers[0].param_groups] == [1e-3, 2.5e-4]
    assert {name.split(".")[0] for name in changed} == {"unet", "text_encoder"}


def test_text_encoder_learns_a_references_states(tmp_path, tokenizer, text_encoder):
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=600, **sizes)).save_pretrained(tmp_path / "reference")
    tokenizer.save_pretrained(tmp_path / "reference")
    data = CaptionStatesDataModule(CAPTIONS, tokenizer, tmp_path / "reference", 2, 0, num_words=3)
    student = StateRegressor(text_encoder, reference_width=12)
    result, changed = train(CaptionStates(), student, data, tmp_path / "fit")
    assert "head.weight" in changed
    assert any(name.startswith("text_encoder.") for name in changed)
    assert result.metrics["train/states"] > 0
