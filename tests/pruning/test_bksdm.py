"""Block removal against the published students: counts, configs and names of bksdm's acceptance facts A1, A2, A4."""

import copy
from functools import cache

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.families import settle, stock_config
from ldc.models import ARCHITECTURES, Teacher, meta_unet
from ldc.profiling import params, tensors
from ldc.pruning import BlockRemoval
from ldc.surgery import Plan, apply

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
BASE = {"layers_per_block": 1}
SMALL = BASE | {"mid_block_type": None}
TINY = SMALL | {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": [CROSS_DOWN] * 3,
    "up_block_types": [CROSS_UP] * 3,
}
# The published configs, as what they change in the teacher's.
DELTAS = {"none": {}, "base": BASE, "small": SMALL, "tiny": TINY}
V2_TINY = TINY | {"attention_head_dim": [5, 10, 20]}
TENSORS = {"none": 686, "base": 442, "small": 396, "tiny": 358}
V1 = {"none": 859_520_964, "base": 579_384_964, "small": 482_346_884, "tiny": 323_384_964}
V2 = {"none": 865_910_724, "base": 583_480_964, "small": 485_787_524, "tiny": 326_825_604}
COUNTS = {"sd14": V1, "sd21_base": V2, "sd21": V2}


@cache
def teacher(name):
    return meta_unet(Teacher(name, architecture=name))


@cache
def student(name, variant):
    plan = BlockRemoval(variant).plan(teacher(name))
    return apply(copy.deepcopy(teacher(name)), plan, settle)


def small_unet(**changes):
    torch.manual_seed(0)
    config = {
        "sample_size": 16,
        "block_out_channels": [8, 16, 32, 32],
        "attention_head_dim": 2,
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(config | changes)).eval()


def staged_unet(channels):
    count = len(channels)
    return small_unet(
        block_out_channels=channels,
        down_block_types=[CROSS_DOWN] * (count - 1) + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + [CROSS_UP] * (count - 1),
    )


def forward(unet, size=16):
    text = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))
    sample = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return unet(sample, torch.tensor([3, 700]), text, return_dict=False)[0]


def shapes(unet):
    return {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}


@pytest.mark.parametrize("variant", TENSORS)
@pytest.mark.parametrize("name", COUNTS)
def test_students_have_the_published_number_of_parameters_and_tensors(name, variant):
    unet = student(name, variant)
    assert (params(unet), tensors(unet)) == (COUNTS[name][variant], TENSORS[variant])


@pytest.mark.parametrize("variant", TENSORS)
@pytest.mark.parametrize("name", COUNTS)
def test_students_have_the_names_and_shapes_of_the_published_configs(name, variant):
    delta = V2_TINY if variant == "tiny" and name != "sd14" else DELTAS[variant]
    with torch.device("meta"):
        published = UNet2DConditionModel.from_config(ARCHITECTURES[name].unet | delta)
    unet = student(name, variant)
    assert shapes(unet) == shapes(published)
    assert {key: normal(value) for key, value in stock_config(unet).items()} == {
        key: normal(value) for key, value in published.config.items() if not key.startswith("_")
    }


def normal(value):
    return list(value) if isinstance(value, tuple) else value


def test_the_removed_modules_have_the_published_sizes():
    unet = teacher("sd14")
    sizes = {path: params(unet.get_submodule(path)) for path in ("mid_block", "up_blocks.0", "up_blocks.1.resnets.2")}
    assert sizes == {"mid_block": 97_038_080, "up_blocks.0": 162_241_280, "up_blocks.1.resnets.2": 40_971_520}


def test_a_pruner_does_not_edit_its_input():
    unet = small_unet()
    before, config = copy.deepcopy(unet.state_dict()), dict(unet.config)
    BlockRemoval("tiny").plan(unet)
    after = unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert dict(unet.config) == config


def test_the_variant_none_is_the_empty_plan():
    assert BlockRemoval("none").plan(small_unet()) == Plan()


@pytest.mark.parametrize("size", [16, 12])
@pytest.mark.parametrize("variant", ["base", "small", "tiny"])
def test_students_answer_as_the_stock_network_of_their_config(variant, size):
    unet = small_unet()
    pruned = apply(unet, BlockRemoval(variant).plan(unet), settle)
    stock = UNet2DConditionModel.from_config(stock_config(pruned)).eval()
    stock.load_state_dict(pruned.state_dict())
    assert torch.equal(forward(pruned, size), forward(stock, size))


@pytest.mark.parametrize("channels", [[16, 16], [8, 16, 16], [8, 8, 16, 32, 32]])
def test_tiny_fits_any_number_of_stages(channels):
    unet = staged_unet(channels)
    pruned = apply(unet, BlockRemoval("tiny").plan(unet), settle)
    assert stock_config(pruned)["block_out_channels"] == channels[:-1]
    assert forward(pruned).shape == (2, 4, 16, 16)


def test_base_keeps_the_first_and_the_last_pair_of_longer_stages():
    unet = small_unet(layers_per_block=3)
    kept = unet.up_blocks[1].resnets[3].conv1.weight.clone()
    pruned = apply(unet, BlockRemoval("base").plan(unet), settle)
    assert torch.equal(pruned.up_blocks[1].resnets[1].conv1.weight, kept)
    assert stock_config(pruned)["layers_per_block"] == 1
    assert forward(pruned).shape == (2, 4, 16, 16)


def test_small_fits_a_student_of_variant_base():
    unet = small_unet()
    base = apply(unet, BlockRemoval("base").plan(unet), settle)
    assert [edit.path for edit in BlockRemoval("small").plan(base).edits] == ["mid_block"]


def test_an_unknown_variant_is_refused_with_the_allowed_ones():
    with pytest.raises(ValueError, match=r"^variant must be base, small, tiny or none, not 'huge'\.$"):
        BlockRemoval("huge")


@pytest.mark.parametrize(
    ("variant", "unet", "message"),
    [
        ("tiny", lambda: staged_unet([8, 16, 32]), r"differ in width \(16 and 32\), not 'tiny'"),
        ("tiny", lambda: staged_unet([8]), "for a U-Net of 1 down and 1 up stages, not 'tiny'"),
        ("small", lambda: small_unet(mid_block_type=None), "for a U-Net without a mid block, not 'small'"),
        ("base", lambda: small_unet(layers_per_block=1), "must find stages with more than one pair"),
        ("base", lambda: torch.nn.Linear(2, 2), "must have down_blocks that hold resnets"),
    ],
)
def test_a_topology_that_the_variant_does_not_fit_is_refused(variant, unet, message):
    with pytest.raises(ValueError, match=message):
        BlockRemoval(variant).plan(unet())
