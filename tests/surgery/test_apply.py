import pytest
import torch
from torch import nn

from ldc.surgery import Detach, Keep, Plan, Skip, apply


class Row(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.end = nn.Linear(2, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x if self.end is None else self.end(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.ModuleList(Row() for _ in range(3))


NESTED = (Keep("rows", (0, 2)), Keep("rows.2.layers", (1,)), Detach("rows.2.end"))


def names(net):
    return list(net.state_dict())


def test_paths_are_those_of_the_unedited_model_whatever_the_order():
    first, second = Net(), Net()
    second.load_state_dict(first.state_dict())
    expected = {"weight": first.rows[2].layers[1].weight.clone()}
    for net, edits in ((first, NESTED), (second, tuple(reversed(NESTED)))):
        apply(net, Plan(edits))
        torch.testing.assert_close(net.rows[1].layers[0].weight, expected["weight"], rtol=0, atol=0)
        assert len(net.rows) == 2
        assert len(net.rows[1].layers) == 1
        assert net.rows[1].end is None
    assert names(first) == names(second)


def test_surviving_weights_are_bit_equal_under_their_new_names():
    net, plan = Net(), Plan(NESTED)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    after = apply(net, plan).state_dict()
    kept = {plan.rename(name): tensor for name, tensor in before.items() if plan.rename(name) is not None}
    assert kept.keys() == after.keys()
    assert all(torch.equal(kept[name], after[name]) for name in after)


def test_an_edited_model_is_settled_with_its_plan():
    seen = []
    net, plan = Net(), Plan(NESTED)
    apply(net, plan, lambda model, edits: seen.append((model, edits)))
    assert seen == [(net, plan)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Detach("rows.0.start"), "must be a module of the model, not 'rows.0.start'"),
        (Keep("rows.7.layers", (0,)), "must be a module of the model, not 'rows.7.layers'"),
        (Keep("rows.0.end", (0,)), "must name a ModuleList, but 'rows.0.end' is a Linear"),
        (Keep("rows.0.layers", (0, 3)), r"must be below its length 3, not \(0, 3\)"),
    ],
)
def test_an_edit_that_does_not_fit_leaves_the_model_unedited(edit, message):
    net = Net()
    before = names(net)
    with pytest.raises(ValueError, match=message):
        apply(net, Plan([Keep("rows", (0,)), edit]))
    assert names(net) == before


def test_a_child_that_is_gone_cannot_be_detached_again():
    net = apply(Net(), Plan([Detach("rows.0.end")]))
    with pytest.raises(ValueError, match=r"'rows\.0\.end' is None"):
        apply(net, Plan([Detach("rows.0.end")]))


def test_skip_identity_returns_what_came_in():
    net = apply(Net(), Plan([Skip("rows.0.layers.1", "identity")]))
    x = torch.randn(1, 2)
    row = net.rows[0]
    assert torch.equal(row(x), row.end(row.layers[2](row.layers[0](x))))


def test_skip_zero_returns_zeros():
    net = apply(Net(), Plan([Skip("rows.0", "zero")]))
    assert torch.equal(net.rows[0](torch.ones(1, 2)), torch.zeros(1, 2))


def test_a_skipped_block_answers_a_caller_that_wants_a_tuple():
    net = apply(Net(), Plan([Skip("rows.0", "identity")]))
    x = torch.ones(1, 2)
    (out,) = net.rows[0](x, encoder_hidden_states=None, return_dict=False)
    assert out is x
