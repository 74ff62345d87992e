import pytest
import torch
from torch import nn

from ldc.surgery import Detach, Keep, Plan, Slice, apply


class Net(nn.Module):
    """Two blocks of two linear layers; `wide` grows and shrinks again."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"up": nn.Linear(3, 8), "down": nn.Linear(8, 3, bias=False)}) for _ in range(3)
        )
        self.table = nn.Embedding(4, 3)

    def forward(self, x):
        for block in self.blocks:
            x = x + block["down"](block["up"](x).relu())
        return x


NEURONS = (0, 3, 4, 7)
EDITS = (
    Keep("blocks", (0, 2)),
    Slice("blocks.2.up", NEURONS, None),
    Slice("blocks.2.down", None, NEURONS, bias=True),
)


def clone_of(net):
    twin = type(net)()
    twin.load_state_dict(net.state_dict())
    return twin


def test_slices_are_those_of_the_unedited_model_whatever_the_order():
    net = Net()
    plans = Plan(EDITS), Plan(reversed(EDITS))
    first, second = (apply(clone_of(net), plan) for plan in plans)
    assert torch.equal(first.blocks[1]["up"].weight, net.blocks[2]["up"].weight[list(NEURONS)])
    assert torch.equal(first.blocks[1]["up"].bias, net.blocks[2]["up"].bias[list(NEURONS)])
    assert torch.equal(first.blocks[1]["down"].weight, net.blocks[2]["down"].weight[:, list(NEURONS)])
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_sliced_network_is_the_unsliced_one_with_the_removed_channels_at_zero():
    net = Net()
    sliced, masked = apply(clone_of(net), Plan(EDITS)), apply(clone_of(net), Plan(EDITS[:1]))
    removed = [neuron for neuron in range(8) if neuron not in NEURONS]
    with torch.no_grad():
        masked.blocks[1]["down"].weight[:, removed] = 0
    x = torch.randn(5, 3)
    torch.testing.assert_close(sliced(x), masked(x))


def test_a_slice_puts_the_counters_right():
    net = apply(Net(), Plan(EDITS))
    up, down = net.blocks[1]["up"], net.blocks[1]["down"]
    assert (up.in_features, up.out_features, down.in_features, down.out_features) == (3, 4, 4, 3)


def test_a_bias_is_added_as_zeros():
    net = apply(Net(), Plan(EDITS))
    assert torch.equal(net.blocks[1]["down"].bias, torch.zeros(3))
    assert net.blocks[0]["down"].bias is None


def test_a_bias_that_is_there_stays():
    net, before = Net(), Net()
    net.load_state_dict(before.state_dict())
    apply(net, Plan([Slice("blocks.0.up", None, (0, 2), bias=True)]))
    assert torch.equal(net.blocks[0]["up"].bias, before.blocks[0]["up"].bias)


def test_a_slice_leaves_the_tensors_that_another_model_shares():
    net = Net()
    weight = net.blocks[2]["up"].weight
    before = weight.clone()
    apply(net, Plan(EDITS))
    assert torch.equal(weight, before)
    assert net.blocks[1]["up"].weight.data_ptr() != weight.data_ptr()


def test_a_frozen_layer_stays_frozen():
    net = Net().requires_grad_(requires_grad=False)
    apply(net, Plan(EDITS))
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_slices_work_on_the_meta_device():
    with torch.device("meta"):
        net = apply(Net(), Plan(EDITS))
    assert net.blocks[1]["up"].weight.is_meta
    assert {name: tensor.shape for name, tensor in net.state_dict().items()} == {
        name: tensor.shape for name, tensor in apply(Net(), Plan(EDITS)).state_dict().items()
    }


def test_a_plan_gives_the_edited_models_tensors_from_the_unedited_ones():
    net, plan = Net(), Plan(EDITS)
    after = apply(clone_of(net), plan).state_dict()
    before = {plan.rename(name): plan.cut(name, tensor) for name, tensor in net.state_dict().items()}
    assert after.keys() - before.keys() == {"blocks.1.down.bias"}  # what the slice adds
    assert all(torch.equal(before[name], after[name]) for name in after if name in before)


def test_a_slice_below_what_goes_does_nothing():
    net = apply(Net(), Plan([Keep("blocks", (0,)), *EDITS[1:]]))
    assert net.blocks[0]["up"].out_features == 8


def test_a_convolution_and_its_normalisation_are_cut_alike():
    net = nn.ModuleDict({"conv": nn.Conv2d(3, 6, 3), "norm": nn.BatchNorm2d(6)}).eval()
    net["norm"].running_mean.normal_()
    x = torch.randn(2, 3, 5, 5)
    whole = net["norm"](net["conv"](x))
    apply(net, Plan([Slice("conv", (1, 4)), Slice("norm", (1, 4))]))
    torch.testing.assert_close(net["norm"](net["conv"](x)), whole[:, [1, 4]])
    assert (net["conv"].out_channels, net["norm"].num_features) == (2, 2)


def test_a_depthwise_convolution_keeps_one_group_a_channel():
    net = nn.ModuleDict({"conv": nn.Conv1d(6, 6, 3, groups=6)})
    x = torch.randn(2, 6, 5)
    whole = net["conv"](x)
    apply(net, Plan([Slice("conv", (0, 5))]))
    torch.testing.assert_close(net["conv"](x[:, [0, 5]]), whole[:, [0, 5]])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Slice("blocks.0.up", (0, 8)), "outputs of blocks.0.up must be below their number 8, not 8"),
        (Slice("blocks.0.up", None, (3,)), "inputs of blocks.0.up must be below their number 3, not 3"),
        (Slice("table", (0,)), "slice must name a linear layer.* but 'table' is a Embedding"),
        (Detach("blocks.0.middle"), "must be a module of the model"),
    ],
)
def test_an_edit_that_does_not_fit_leaves_the_channels_unedited(edit, message):
    net = Net()
    before = clone_of(net).state_dict()
    with pytest.raises(ValueError, match=message):
        apply(net, Plan([Slice("blocks.2.up", (0,)), edit]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "edit", "message"),
    [
        (nn.Conv2d(4, 8, 1, groups=2), Slice("layer", (0,)), "is a Conv2d of 2 groups"),
        (nn.Conv2d(4, 4, 1, groups=4), Slice("layer", (0,), (0,)), "inputs of layer must be null"),
        (nn.BatchNorm2d(4), Slice("layer", (0,), bias=True), "bias of layer must be false"),
        (nn.ConvTranspose2d(4, 8, 1), Slice("layer", (0,)), "is a ConvTranspose2d"),
    ],
)
def test_a_layer_that_cannot_be_cut_so_is_refused(layer, edit, message):
    with pytest.raises(ValueError, match=message):
        apply(nn.ModuleDict({"layer": layer}), Plan([edit]))


@pytest.mark.parametrize("channels", [(), (1, 0), (0, 0), (-1,), "3-1"])
def test_kept_channels_must_ascend_from_zero(channels):
    with pytest.raises(ValueError, match=r"outputs of up must be ascending, distinct and at least one"):
        Slice("up", channels)


def test_channels_may_be_given_as_ranges():
    assert Slice("up", "0-2,5", "7") == Slice("up", (0, 1, 2, 5), (7,))


@pytest.mark.parametrize("text", ["", "a", "1-", "1,,2", "-1"])
def test_text_that_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match="channels must be numbers and ranges such as '0-63,70'"):
        Slice("up", text)


def test_slices_survive_json_as_ranges():
    plan = Plan([Slice("up", (0, 1, 2, 5, 7, 8)), Slice("down", None, (3,), bias=True)])
    content = plan.to_json()
    assert content["edits"] == [
        {"edit": "slice", "path": "down", "outputs": None, "inputs": "3", "bias": True},
        {"edit": "slice", "path": "up", "outputs": "0-2,5,7-8", "inputs": None, "bias": False},
    ]
    assert Plan.from_json(content) == plan
