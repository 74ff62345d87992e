"""Block removal on Stable Diffusion XL's U-Net: three levels, transformers up to 10 deep, added conditions."""

from functools import cache

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.families import feature_points, stock_config
from ldc.models import ARCHITECTURES, Teacher, build_student, meta_unet
from ldc.profiling import params, tensors
from ldc.pruning import BlockRemoval
from ldc.surgery import Plan, key_map

# The teacher's count is the published one (stabilityai/stable-diffusion-xl-base-1.0); base at depth 6 and small at
# depth 5 have the sizes of KOALA-1B and KOALA-700M (Lee et al. 2023: 54 % and 69 % removed); the rest is this rule's.
COUNTS = {
    ("none", None): (2_567_463_684, 1680),
    ("base", None): (1_717_277_764, 1110),
    ("small", None): (1_304_160_324, 884),
    ("base", 6): (1_161_184_324, 790),
    ("small", 5): (782_822_724, 584),
    ("none", (1, 1, 4)): (1_266_227_844, 860),
}
WIDTHS = (
    "variant must be base, small or none where the two innermost stages differ in width (640 and 1280), not 'tiny'."
)
CASES = [case for case in COUNTS if case != ("none", None)]
SMALL_CASES = [("base", None), ("small", 5), ("none", (1, 1, 4))]


@cache
def teacher():
    return meta_unet(Teacher("sdxl", architecture="sdxl_base"))


@cache
def small_sdxl():
    """SDXL's config with small widths; the topology and the depths stay."""
    torch.manual_seed(0)
    small = {
        "sample_size": 16,
        "block_out_channels": [4, 8, 16],
        "attention_head_dim": [1, 2, 4],
        "cross_attention_dim": 6,
        "norm_num_groups": 2,
        "addition_time_embed_dim": 2,
        "projection_class_embeddings_input_dim": 5 + 6 * 2,
    }
    return UNet2DConditionModel.from_config(ARCHITECTURES["sdxl_base"].unet | small).eval()


@cache
def small_student(case):
    return build_student(small_sdxl(), BlockRemoval(*case).plan(small_sdxl())).eval()


def forward(unet):
    generator = torch.Generator().manual_seed(1)
    sample, text = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 3, 6, generator=generator)
    added = {"text_embeds": torch.randn(2, 5, generator=generator), "time_ids": torch.full((2, 6), 16.0)}
    with torch.no_grad():
        return unet(sample, torch.tensor([3, 700]), text, added_cond_kwargs=added, return_dict=False)[0]


@pytest.mark.parametrize("case", COUNTS)
def test_students_have_the_counts_of_their_rule(case):
    student = build_student(teacher(), BlockRemoval(*case).plan(teacher()))
    assert (params(student), tensors(student)) == COUNTS[case]


@pytest.mark.parametrize(
    ("case", "delta"),
    [
        (("base", None), {"layers_per_block": 1}),
        (("small", None), {"layers_per_block": 1, "mid_block_type": None}),
        (("base", 6), {"layers_per_block": 1, "transformer_layers_per_block": [1, 2, 6]}),
        (("none", (1, 1, 4)), {"transformer_layers_per_block": [1, 1, 4]}),
    ],
)
def test_the_stock_config_says_in_which_numbers_the_student_differs(case, delta):
    config = stock_config(build_student(teacher(), BlockRemoval(*case).plan(teacher())))
    assert {key: value for key, value in config.items() if value != teacher().config[key]} == delta


@pytest.mark.parametrize("case", CASES)
def test_a_plan_comes_back_from_json_as_it_went(case):
    plan = BlockRemoval(*case).plan(teacher())
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("case", SMALL_CASES)
def test_every_tensor_of_a_small_student_is_the_teachers(case):
    plan = BlockRemoval(*case).plan(small_sdxl())
    ours, theirs, names = small_student(case).state_dict(), small_sdxl().state_dict(), key_map(small_sdxl(), plan)
    assert names.keys() == ours.keys()
    assert len(ours) == COUNTS[case][1]
    assert all(torch.equal(tensor, theirs[names[name]]) for name, tensor in ours.items())


@pytest.mark.parametrize("case", SMALL_CASES)
def test_small_students_answer_as_the_stock_network_of_their_config(case):
    student = small_student(case)
    stock = UNet2DConditionModel.from_config(stock_config(student)).eval()
    stock.load_state_dict(student.state_dict())
    assert torch.equal(forward(student), forward(stock))
    assert not torch.equal(forward(student), forward(small_sdxl()))


def test_the_first_transformer_blocks_stay():
    ours, theirs = small_student(("small", 5)).up_blocks[0].attentions[1], small_sdxl().up_blocks[0].attentions[2]
    assert len(ours.transformer_blocks) == 5
    assert torch.equal(ours.transformer_blocks[4].ff.net[2].weight, theirs.transformer_blocks[4].ff.net[2].weight)


def test_features_are_compared_after_every_stage():
    places = ["up_blocks.0", "up_blocks.1", "up_blocks.2", "down_blocks.0", "down_blocks.1", "down_blocks.2"]
    plan = BlockRemoval("small", 5).plan(teacher())
    assert feature_points(teacher(), plan) == [(place, place) for place in places]


def test_a_depth_cuts_a_network_that_keeps_all_blocks_too():
    paths = {edit.path for edit in BlockRemoval("none", 9).plan(teacher()).edits}
    inner = ["mid_block.attentions.0"]
    inner += [f"down_blocks.2.attentions.{index}" for index in range(2)]
    inner += [f"up_blocks.0.attentions.{index}" for index in range(3)]
    assert paths == {f"{path}.transformer_blocks" for path in inner}


@pytest.mark.parametrize(
    ("variant", "depth", "message"),
    [
        ("tiny", None, WIDTHS),
        ("base", 10, "transformer_depth must be below the depth of a transformer that stays (at most 10), not 10."),
        ("small", [1, 2], "transformer_depth must have one number for each of 3 levels, not 2."),
    ],
)
def test_what_does_not_fit_the_topology_is_refused_in_one_sentence(variant, depth, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole sentence is compared
        BlockRemoval(variant, depth).plan(teacher())
    assert str(refusal.value) == message


@pytest.mark.parametrize("depth", [0, True, "six", [], [1, 0, 2], 2.5])
def test_a_depth_that_is_no_whole_number_from_1_is_refused(depth):
    with pytest.raises(ValueError, match=r"^transformer_depth must be a whole number from 1, or a list .*\.$"):
        BlockRemoval("base", depth)


def test_a_depth_is_refused_where_attentions_are_one_block_deep():
    unet = meta_unet(Teacher("sd14", architecture="sd14"))
    with pytest.raises(ValueError, match=r"that stays \(at most 1\), not 6\.$"):
        BlockRemoval("base", 6).plan(unet)
