"""A tiny teacher with the shipped tokenizer, shards as img2dataset writes them, and `ldc.train` in process."""

import io
import json
import string
import tarfile

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from hydra import compose, initialize_config_dir
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from ldc import train
from ldc.models import Guidance, LatentDiffusion, freeze, save_student
from ldc.runtime import ASSETS, CONF
from ldc.runtime.arguments import legalise
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
WORDS = ("red apple", "blue heart", "green circle", "grinning face", "ghost")
TINY_FITS = ("max_steps=2", "batch_size=2", "schedule.warmup_steps=0", "grids.every=2", "grids.steps=[1]")


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory):
    """A StableDiffusionPipeline folder: random weights, the shipped tokenizer, 32 px."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "emoji_ldm" / "tokenizer")
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=[8, 16, 32, 32],
        attention_head_dim=[1, 2, 4, 4],
        cross_attention_dim=16,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=[8, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=32,
    )
    text = CLIPTextConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        vocab_size=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    parts = LatentDiffusion(unet, vae, freeze(CLIPTextModel(text)), tokenizer, dict(SCHEDULER), Guidance())
    return save_student(tmp_path_factory.mktemp("teacher") / "tiny", unet, Plan(()), parts)


@pytest.fixture(scope="session")
def write_laion():
    """Writes a tar as img2dataset does, with LAION's columns; `changes` by key go into a sample's metadata.

    `pictures` gives {key: (caption, JPEG)}; samples without one are noise.
    """

    def write(path, keys, *, changes=None, corrupt=(), pictures=None):
        with tarfile.open(path, "w") as tar:
            for key in keys:
                noise = f"{WORDS[int(key) % len(WORDS)]} number {int(key)}", _jpeg(int(key))
                caption, image = (pictures or {}).get(key, noise)
                image = b"\xff\xd8 cut" if key in corrupt else image
                metadata = _laion_metadata(key, caption) | (changes or {}).get(key, {})
                members = {"jpg": image, "txt": caption.encode(), "json": json.dumps(metadata).encode()}
                for extension, content in members.items():
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return path

    return write


def _laion_metadata(key, caption):
    return {
        "key": key,
        "url": f"https://example.org/{key}.jpg",
        "caption": caption,
        "status": "success",
        "error_message": None,
        "width": 48,
        "height": 40,
        "original_width": 1024,
        "original_height": 768,
        "exif": "{}",
        "similarity": 0.32,
        "pwatermark": 0.05,
        "AESTHETIC_SCORE": 6.8,
    }


def _jpeg(number):
    pixels = np.random.default_rng(number).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((48, 40)).save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def laion(tmp_path_factory, write_laion):
    """Two shards of 10: one image is corrupt, three samples fall to the filters of conf/data/laion.yaml."""
    folder = tmp_path_factory.mktemp("laion")
    keys = [f"{number:09d}" for number in range(20)]
    changes = {keys[3]: {"AESTHETIC_SCORE": 4.0}, keys[7]: {"pwatermark": 0.95}, keys[12]: {"original_height": 300}}
    write_laion(folder / "00000.tar", keys[:10], changes=changes, corrupt={keys[5]})
    write_laion(folder / "00001.tar", keys[10:], changes=changes)
    return folder


@pytest.fixture
def letters():
    """A tokenizer of single letters, with BOS and EOS."""
    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


@pytest.fixture
def llama_folder(tiny_llama, letters, tmp_path):
    """A transformers folder: the tiny Llama of 10 blocks with the tokenizer of letters."""
    folder = tmp_path / "tiny-llama"
    tiny_llama().save_pretrained(folder)
    letters.save_pretrained(folder)
    return folder


@pytest.fixture
def text_file(tmp_path):
    """Sixty paragraphs of some hundred letters, each a record of a JSON lines file."""
    sentence = "Sentence {0} says that {0} and {0} are {1}, which is not {2}. "
    paragraphs = ["".join(sentence.format(n, 2 * n, n + k) for k in range(4)) for n in range(60)]
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": paragraph}) for paragraph in paragraphs))
    return path


@pytest.fixture
def configured(tmp_path, tmp_path_factory):
    """Composes conf/train.yaml from the arguments of a command line, with folders of the test."""

    def compose_train(*arguments, command="train"):
        cache = tmp_path_factory.getbasetemp() / "cache"
        folders = [f"paths.outputs={tmp_path / 'outputs'}", f"paths.cache={cache}"]
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose(command, overrides=legalise([*arguments, *folders], CONF))

    return compose_train


@pytest.fixture
def trained(configured):
    """Runs `python -m ldc.train` in process with these arguments; `fits` are cut down to two steps."""

    def run(*arguments, fits=()):
        tiny = [f"stages.{fit}.{setting}" for fit in fits for setting in TINY_FITS]
        return train.main.task(configured(*arguments, *tiny))

    return run
