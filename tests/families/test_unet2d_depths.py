"""Depths of transformers, and the stock config of a U-Net whose depths a plan changes."""

import copy

import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.families import settle, stock_config, transformers
from ldc.surgery import Keep, Plan, apply

DEPTHS = "transformer_layers_per_block"
REVERSE = "reverse_transformer_layers_per_block"


def deep_unet(**changes):
    """Two levels, the outer one without attention, the inner one with transformers 3 deep."""
    config = {
        "block_out_channels": [4, 8],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 3],
        "attention_head_dim": 2,
        "cross_attention_dim": 4,
        "norm_num_groups": 2,
    }
    return UNet2DConditionModel(**(config | changes))


def cut(unet, depths):
    """The U-Net with these attentions left with their first so many transformer blocks, and its stock config."""
    plan = Plan(Keep(f"{path}.transformer_blocks", tuple(range(depth))) for path, depth in depths.items())
    return stock_config(apply(copy.deepcopy(unet), plan, settle))


def changed(unet, depths):
    config = cut(unet, depths)
    return {key: value for key, value in config.items() if value != unet.config[key]}


def attentions(*blocks):
    return [f"{block}.attentions.{index}" for block, count in blocks for index in range(count)]


DOWN, UP, MID = attentions(("down_blocks.1", 2)), attentions(("up_blocks.0", 3)), attentions(("mid_block", 1))


def test_transformers_tell_their_level_and_depth():
    found = {each.path: (each.level, each.depth) for each in transformers(deep_unet())}
    assert found == {f"{path}.transformer_blocks": (1, 3) for path in DOWN + UP + MID}


def test_attentions_without_transformer_blocks_are_not_counted():
    unet = deep_unet(down_block_types=["DownBlock2D", "AttnDownBlock2D"], mid_block_type=None)
    assert {each.path for each in transformers(unet)} == {f"{path}.transformer_blocks" for path in UP}


def test_a_level_cut_on_both_sides_and_in_the_middle_is_one_number():
    assert changed(deep_unet(), dict.fromkeys(DOWN + UP + MID, 2)) == {DEPTHS: [1, 2]}


def test_one_number_for_all_levels_becomes_a_list():
    unet = deep_unet(transformer_layers_per_block=3)
    assert changed(unet, dict.fromkeys(DOWN + UP + MID, 1)) == {DEPTHS: [3, 1]}


def test_sides_of_different_depth_give_the_reverse_list():
    assert changed(deep_unet(), dict.fromkeys(UP, 1)) == {REVERSE: [1, 1]}


def test_attentions_of_different_depth_give_a_list_in_the_list():
    depths = {UP[0]: 1, DOWN[1]: 2}
    assert changed(deep_unet(), depths) == {DEPTHS: [1, [3, 2]], REVERSE: [[1, 3, 3], 1]}


def test_a_list_in_the_list_may_be_cut_again():
    unet = deep_unet(transformer_layers_per_block=[1, [3, 2]], reverse_transformer_layers_per_block=[[1, 3, 3], 1])
    assert changed(unet, dict.fromkeys(DOWN + UP + MID, 1)) == {DEPTHS: [1, 1], REVERSE: None}


@pytest.mark.parametrize("depths", [dict.fromkeys(MID, 1), dict.fromkeys(DOWN + UP, 1)])
def test_a_middle_of_another_depth_than_its_level_has_no_stock_config(depths):
    assert cut(deep_unet(), depths) is None
