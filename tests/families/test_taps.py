import copy
import gc
import weakref

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from ldc.families.taps import Tapped

POINTS = ["down_blocks.0", "down_blocks.2.attentions.0.proj_out", "up_blocks.3"]


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[8, 16, 32, 32],
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=8,
        norm_num_groups=4,
    )


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    return x, torch.tensor([3, 900]), torch.randn(2, 5, 8, generator=generator)


@pytest.fixture
def tapped(unet):
    module = Tapped(unet, POINTS)
    yield module
    module.remove()


class Toy(nn.Module):
    """A network with diffusers' calling convention, small enough to compile."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, return_dict):
        assert not return_dict
        return (self.last(self.first(x).relu()),)


def test_sample_is_the_plain_output_and_points_are_the_submodules_outputs(unet, tapped, inputs):
    seen = {}
    handles = [
        unet.get_submodule(point).register_forward_hook(lambda _m, _a, output, name=point: seen.update({name: output}))
        for point in POINTS
    ]
    sample, features = tapped(*inputs)
    for handle in handles:
        handle.remove()
    assert torch.equal(sample, unet(*inputs).sample)
    assert list(features) == POINTS
    assert isinstance(seen["down_blocks.0"], tuple)
    for point in POINTS:
        output = seen[point][0] if isinstance(seen[point], tuple) else seen[point]
        assert features[point] is output


def test_features_are_the_same_under_gradient_checkpointing(unet, inputs):
    network = copy.deepcopy(unet).train()
    tapped = Tapped(network, POINTS)
    plain = tapped(*inputs)[1]
    network.enable_gradient_checkpointing()
    checkpointed = tapped(*inputs)[1]
    for point in POINTS:
        assert torch.equal(checkpointed[point], plain[point]), point


def test_the_backward_pass_under_checkpointing_records_nothing(unet, inputs):
    network = copy.deepcopy(unet).train()
    network.enable_gradient_checkpointing()
    tapped = Tapped(network, POINTS)
    sample, features = tapped(*inputs)
    kept = [weakref.ref(value) for value in features.values()]
    (sample.sum() + sum(value.sum() for value in features.values())).backward()
    del sample, features
    gc.collect()
    assert all(reference() is None for reference in kept)
    assert tapped._features is None


def test_a_forward_that_fails_leaves_nothing_recorded(tapped, inputs):
    x, t, text = inputs
    with pytest.raises(RuntimeError):
        tapped(x, t, text[..., :3])
    assert tapped._features is None


def test_two_taps_on_one_network_do_not_see_each_others_calls(unet, tapped, inputs):
    other = Tapped(unet, ["mid_block"])
    assert list(other(*inputs)[1]) == ["mid_block"]
    assert list(tapped(*inputs)[1]) == POINTS
    other.remove()


def test_a_deep_copy_of_the_network_does_not_record_into_the_original(unet, tapped, inputs):
    copied = copy.deepcopy(unet)
    with torch.no_grad():
        copied.conv_in.weight.add_(1)
    seen = []
    # The copy runs at the end of a tapped call, when all points are recorded.
    handle = unet.conv_out.register_forward_hook(lambda *_: seen.append(copied(*inputs)))
    features = tapped(*inputs)[1]
    handle.remove()
    assert seen
    assert torch.equal(features["up_blocks.3"], tapped(*inputs)[1]["up_blocks.3"])


def test_removed_taps_leave_no_hook(unet):
    Tapped(unet, POINTS).remove()
    assert not any(module._forward_hooks for module in unet.modules())


def test_a_point_that_is_no_submodule_is_refused_and_leaves_no_hook(unet):
    with pytest.raises(ValueError, match=r"must name a submodule of UNet2DConditionModel, not 'up_blocks\.9'"):
        Tapped(unet, ["down_blocks.0", "up_blocks.9"])
    assert not any(module._forward_hooks for module in unet.modules())


@pytest.mark.integration
def test_taps_compile_as_one_graph_and_keep_values_and_gradients():
    torch.manual_seed(0)
    tapped = Tapped(Toy(), ["first", "last"])
    x = torch.randn(2, 4)
    expected, expected_features = tapped(x)
    sample, features = torch.compile(tapped, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(sample, expected)
    for point in tapped.points:
        torch.testing.assert_close(features[point], expected_features[point])
    features["first"].sum().backward()
    assert tapped.module.first.weight.grad.abs().sum() > 0
    assert tapped._features is None
