import copy

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.families import feature_points, settle, stages, stock_config, units
from ldc.models import Teacher, meta_unet
from ldc.profiling import params
from ldc.pruning import BlockRemoval
from ldc.surgery import Keep, Plan, Skip, apply, key_map

STAGES = ["up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3"]
STAGES += ["down_blocks.0", "down_blocks.1", "down_blocks.2", "down_blocks.3"]
TINY_POINTS = [
    ("down_blocks.0", "down_blocks.0"),
    ("down_blocks.1", "down_blocks.1"),
    ("down_blocks.2.attentions.1.proj_out", "down_blocks.2.attentions.0.proj_out"),
    ("up_blocks.1", "up_blocks.0"),
    ("up_blocks.2", "up_blocks.1"),
    ("up_blocks.3", "up_blocks.2"),
]
BASE_SHAPES = [(1280, 16, 16), (1280, 32, 32), (640, 64, 64), (320, 64, 64)]
BASE_SHAPES += [(320, 32, 32), (640, 16, 16), (1280, 8, 8), (1280, 8, 8)]
TINY_SHAPES = [(320, 32, 32), (640, 16, 16), (1280, 16, 16), (1280, 32, 32), (640, 64, 64), (320, 64, 64)]


@pytest.fixture(scope="module")
def sd14():
    return meta_unet(Teacher("sd14", architecture="sd14"))


def small_unet(**changes):
    config = {"block_out_channels": [8, 16, 32, 32], "cross_attention_dim": 16, "norm_num_groups": 4}
    return UNet2DConditionModel(**(config | {"attention_head_dim": 2} | changes))


def pruned(unet, variant):
    return apply(copy.deepcopy(unet), BlockRemoval(variant).plan(unet), settle)


def output_shapes(unet, points):
    """Shapes of the outputs of the named modules, without the batch axis, at 64 x 64 latents on the meta device."""
    shapes = {}

    def store(point):
        def hook(_module, _inputs, output):
            shapes[point] = tuple((output[0] if isinstance(output, tuple) else output).shape[1:])

        return hook

    for point in points:
        unet.get_submodule(point).register_forward_hook(store(point))
    sample, text = torch.empty(1, 4, 64, 64, device="meta"), torch.empty(1, 77, 768, device="meta")
    unet(sample, torch.zeros(1, device="meta"), text)
    return [shapes[point] for point in points]


@pytest.mark.parametrize(("variant", "teacher_only"), [("base", 244), ("small", 290), ("tiny", 380)])
def test_every_tensor_of_a_student_has_its_tensor_in_the_teacher(sd14, variant, teacher_only):
    student, names = pruned(sd14, variant), key_map(sd14, BlockRemoval(variant).plan(sd14))
    ours, theirs = student.state_dict(), sd14.state_dict()
    assert names.keys() == ours.keys()
    assert all(ours[name].shape == theirs[names[name]].shape for name in ours)
    assert len(theirs.keys() - ours.keys()) == teacher_only


def test_the_key_map_is_the_published_one_for_tiny(sd14):
    names = key_map(sd14, BlockRemoval("tiny").plan(sd14))
    moved = {
        "up_blocks.0.attentions.0.proj_in.weight": "up_blocks.1.attentions.0.proj_in.weight",
        "up_blocks.0.resnets.1.conv1.weight": "up_blocks.1.resnets.2.conv1.weight",
        "up_blocks.1.upsamplers.0.conv.weight": "up_blocks.2.upsamplers.0.conv.weight",
        "up_blocks.2.attentions.1.proj_out.bias": "up_blocks.3.attentions.2.proj_out.bias",
        "down_blocks.2.resnets.0.conv1.weight": "down_blocks.2.resnets.0.conv1.weight",
    }
    assert {student: names[student] for student in moved} == moved


@pytest.mark.parametrize("variant", ["base", "small"])
def test_features_are_compared_after_every_stage(sd14, variant):
    points = feature_points(sd14, BlockRemoval(variant).plan(sd14))
    assert points == [(stage, stage) for stage in STAGES]


def test_tiny_compares_the_innermost_projection_of_attention(sd14):
    assert feature_points(sd14, BlockRemoval("tiny").plan(sd14)) == TINY_POINTS


@pytest.mark.parametrize(
    ("variant", "shapes", "elements"),
    [("base", BASE_SHAPES, 6_225_920), ("small", BASE_SHAPES, 6_225_920), ("tiny", TINY_SHAPES, 6_062_080)],
)
def test_features_of_teacher_and_student_have_the_published_shapes(sd14, variant, shapes, elements):
    points = feature_points(sd14, BlockRemoval(variant).plan(sd14))
    assert output_shapes(copy.deepcopy(sd14), [teacher for teacher, _ in points]) == shapes
    assert output_shapes(pruned(sd14, variant), [student for _, student in points]) == shapes
    assert sum(torch.Size(shape).numel() for shape in shapes) == elements


def test_a_stage_without_attention_is_compared_at_its_last_resnet():
    unet = small_unet(
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
    )
    assert ("down_blocks.2.resnets.1", "down_blocks.2.resnets.0") in feature_points(
        unet, BlockRemoval("tiny").plan(unet)
    )


def test_settings_per_level_follow_the_levels():
    unet = small_unet(
        attention_head_dim=[1, 2, 4, 8], cross_attention_dim=[16, 16, 16, 16], only_cross_attention=[True, False] * 2
    )
    config = stock_config(pruned(unet, "tiny"))
    assert list(config["attention_head_dim"]) == [1, 2, 4]
    assert list(config["cross_attention_dim"]) == [16, 16, 16]
    assert list(config["only_cross_attention"]) == [True, False, True]


def test_stages_of_different_depth_give_a_list_of_layers():
    unet = small_unet()
    plan = Plan([Keep("down_blocks.3.resnets", (0,)), Keep("up_blocks.0.resnets", (0, 2))])
    assert stock_config(apply(unet, plan, settle))["layers_per_block"] == [2, 2, 2, 1]


def test_the_number_of_upsamplers_is_counted_again():
    assert pruned(small_unet(), "tiny").num_upsamplers == 2


def test_an_unedited_network_keeps_its_config():
    unet = small_unet()
    before = dict(unet.config)
    apply(unet, Plan(), settle)
    assert dict(unet.config) == before


def test_a_network_with_a_skipped_operator_has_no_stock_config():
    plan = Plan([Skip("down_blocks.0.attentions.1", "identity")])
    assert stock_config(apply(small_unet(), plan, settle)) is None


def test_a_network_with_one_side_cut_has_no_stock_config():
    plan = Plan([Keep("up_blocks.3.resnets", (0, 2)), Keep("up_blocks.3.attentions", (0, 2))])
    assert stock_config(apply(small_unet(), plan, settle)) is None


def test_equal_shapes_with_another_number_of_heads_are_not_stock():
    unet = small_unet()
    unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.heads = 4
    assert stock_config(unet) is None


def test_units_are_the_pairs_of_every_stage_and_the_mid_block():
    unet = small_unet()
    found = {unit.name: unit for unit in units(unet)}
    assert len(found) == 4 * 2 + 4 * 3 + 1
    assert found["up_blocks.1.2"].paths == ("up_blocks.1.resnets.2", "up_blocks.1.attentions.2")
    assert found["mid_block"].params == params(unet.mid_block)


def test_stages_tell_their_pairs_and_channels():
    stage = stages(small_unet(), "up")[1]
    assert (stage.path, stage.lists, stage.pairs, stage.channels) == ("up_blocks.1", ("resnets", "attentions"), 3, 32)
