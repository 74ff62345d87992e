"""MACs of the published U-Nets: exact, with and without attention products (bksdm acceptance fact A3).

Those of Stable Diffusion XL are this project's own count.
"""

import copy

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.families import settle
from ldc.models import ARCHITECTURES, Teacher, meta_unet
from ldc.profiling import latency, macs, params, tensors, text_encoder_macs, vae_encoder_macs
from ldc.pruning import BlockRemoval
from ldc.surgery import apply

MACS = {
    ("sd14", 64, "none"): (401_636_720_640, 338_610_585_600),
    ("sd14", 64, "base"): (261_496_995_840, 223_672_074_240),
    ("sd14", 64, "small"): (255_447_203_840, 217_645_383_680),
    ("sd14", 64, "tiny"): (242_754_519_040, 204_952_698_880),
    ("sd21_base", 64, "none"): (402_128_732_160, 339_102_597_120),
    ("sd21_base", 64, "base"): (261_812_387_840, 223_987_466_240),
    ("sd21_base", 64, "small"): (255_712_133_120, 217_910_312_960),
    ("sd21_base", 64, "tiny"): (243_019_448_320, 205_217_628_160),
    ("sd21", 96, "none"): (1_074_552_872_960, 760_485_969_920),
    ("sdxl_base", 128, "none"): (3_380_618_199_040, 2_988_660_490_240),
    ("sdxl_base", 128, "base"): (2_251_736_514_560, 2_005_017_067_520),
    ("sdxl_base", 128, "small"): (1_853_090_856_960, 1_635_233_464_320),
}
MACS_768 = {"base": 690_844_016_640, "small": 677_345_361_920, "tiny": 648_792_965_120}


def pruned(name, variant):
    unet = meta_unet(Teacher(name, architecture=name))
    return apply(unet, BlockRemoval(variant).plan(unet), settle)


def tiny_unet(**changes):
    return UNet2DConditionModel(block_out_channels=[8, 16, 16, 16], norm_num_groups=4, cross_attention_dim=8, **changes)


@pytest.mark.parametrize("case", MACS)
def test_macs_are_those_of_the_published_networks(case):
    name, size, variant = case
    total, without = MACS[case]
    assert macs(pruned(name, variant), size, 77) == {"macs": total, "macs_without_attention": without}


@pytest.mark.parametrize("variant", MACS_768)
def test_macs_at_768_pixels_are_those_of_the_published_students(variant):
    assert macs(pruned("sd21", variant), 96, 77)["macs"] == MACS_768[variant]


class Held(TorchDispatchMode):
    """The most elements of a tensor that is not on the meta device, of all that operators give."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self.most = max(self.most, tensor.numel())
        return out


@pytest.mark.parametrize("name", ["sd14", "sdxl_base"])
def test_counting_at_full_size_holds_no_tensor(name):
    unet = meta_unet(Teacher(name, architecture=name))
    with Held() as held:
        macs(unet, unet.config.sample_size, 77)
    assert held.most == 0


def test_macs_of_the_published_encoders():
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(ARCHITECTURES["sd14"].vae)
        text_encoder = CLIPTextModel(CLIPTextConfig(**ARCHITECTURES["sd14"].text_encoder))
    assert vae_encoder_macs(vae, 512) == 558_329_233_408
    assert text_encoder_macs(text_encoder) == 6_649_251_840  # 6.649 G


def test_counting_leaves_the_network_and_its_attention_processors_alone():
    unet = tiny_unet()
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    processors = copy.copy(unet.attn_processors)
    macs(unet, 16, 5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in unet.state_dict().items())
    assert {name: type(p) for name, p in unet.attn_processors.items()} == {n: type(p) for n, p in processors.items()}
    assert unet.training


def test_the_guidance_projection_is_counted():
    with torch.device("meta"):
        plain, guided = macs(tiny_unet(), 16, 5), macs(tiny_unet(time_cond_proj_dim=32), 16, 5)
    assert guided["macs"] - plain["macs"] == 32 * 8


def test_parameters_and_tensors_are_counted():
    layer = torch.nn.BatchNorm1d(4)
    assert (params(layer), tensors(layer)) == (8, 5)


def test_latency_calls_once_more_than_it_times():
    calls = []
    assert latency(lambda: calls.append(1), repeats=3) >= 0
    assert len(calls) == 4


def test_latency_needs_a_repeat():
    with pytest.raises(ValueError, match="repeats must be at least 1, not 0"):
        latency(lambda: None, repeats=0)
