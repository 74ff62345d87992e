import torch
from torch import nn

from ldc.families.taps import Tapped
from ldc.training.strategies.blocks import blocks
from tests.training.unets import small_unet


def names(network):
    by_module = {id(module): name for name, module in network.named_modules()}
    return [by_module[id(block)] for block in blocks(network)]


def test_the_blocks_of_a_unet_are_its_down_mid_and_up_blocks():
    with torch.device("meta"):
        network = small_unet()
    assert set(names(network)) == {"down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1"}


def test_wrappers_are_looked_through():
    with torch.device("meta"):
        network = small_unet()
    assert set(names(Tapped(network, ["mid_block"]))) == {f"module.{name}" for name in names(network)}


def test_no_block_is_inside_another():
    with torch.device("meta"):
        found = list(blocks(small_unet()))
    parts = [id(module) for block in found for module in block.modules()]
    assert len(parts) == len(set(parts))


def test_a_network_without_lists_has_no_blocks(toy_net):
    assert names(toy_net()) == []
    assert names(nn.Sequential(nn.Linear(1, 1))) == []
