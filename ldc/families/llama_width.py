"""The widths of a Llama block: which channels of its attention and its feed-forward go together, and what they weigh.

Query heads that share a key-value head are one KV group and go with it; without sharing, a group is one head. A
feed-forward neuron is a row of the gate and of the up projection and a column of the down projection. Blocks may end
up of different widths: the attention reads its number of heads off its projections, so nothing there needs the config.
Blocks are typed `Any`: they are read by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from ldc.surgery import Slice

ATTENTION, FEED_FORWARD = "self_attn", "mlp"
OUT, DOWN = f"{ATTENTION}.o_proj", f"{FEED_FORWARD}.down_proj"  # what a group and a neuron feed
_QUERY, _KEYS = f"{ATTENTION}.q_proj", (f"{ATTENTION}.k_proj", f"{ATTENTION}.v_proj")
_UP = (f"{FEED_FORWARD}.gate_proj", f"{FEED_FORWARD}.up_proj")
_LINEARS = (_QUERY, *_KEYS, OUT, *_UP, DOWN)


class Widths(NamedTuple):
    """How wide a block is, and the parameters that go with one group and one neuron."""

    groups: int  # KV groups, which is the number of key-value heads
    group_heads: int  # query heads of a group
    head_dim: int
    neurons: int
    group_params: int
    neuron_params: int

    @property
    def group_channels(self) -> int:
        """Input channels of the output projection that belong to one group."""
        return self.group_heads * self.head_dim


def widths(block: Any) -> Widths:
    """Returns the widths of a block.

    Raises:
        ValueError: the block has no separate projections of this family, or what it normalises spans several heads.
    """
    linears = [_linear(block, name) for name in _LINEARS]
    query, key, _, out, gate, _, down = linears
    attention = block.get_submodule(ATTENTION)
    head_dim = int(attention.head_dim)
    groups = key.out_features // head_dim
    group_heads = query.out_features // key.out_features
    if groups * head_dim != key.out_features or query.out_features != groups * group_heads * head_dim:
        raise ValueError(
            f"heads of an attention must be alike, but {query.out_features} query channels and "
            f"{key.out_features} key channels are not whole groups of heads of {head_dim}."
        )
    if any(parameter.numel() not in {1, head_dim} for _, parameter in _others(attention)):
        raise ValueError(f"norms of an attention must span one head to cut heads, unlike {type(attention).__name__}'s.")
    rows = sum(_row(linear) for linear in linears[1:3]) * head_dim + _row(query) * group_heads * head_dim
    group_params = rows + out.out_features * group_heads * head_dim
    neuron_params = sum(_row(linear) for linear in linears[4:6]) + down.out_features
    return Widths(groups, group_heads, head_dim, gate.out_features, group_params, neuron_params)


def group_slices(path: str, block: Any, kept: Sequence[int], *, bias: bool = False) -> list[Slice]:
    """Returns the edits of the block at `path` that keep these KV groups; none where all are kept.

    Args:
        path: of the block in its model.
        block: the unedited block.
        kept: ascending indices of KV groups.
        bias: the output projection gets a bias where it has none.
    """
    width = widths(block)
    if len(kept) == width.groups:
        return []
    keys = _channels(kept, width.head_dim)
    queries = _channels(kept, width.group_channels)
    return [
        Slice(f"{path}.{_QUERY}", queries),
        *(Slice(f"{path}.{name}", keys) for name in _KEYS),
        Slice(f"{path}.{OUT}", None, queries, bias),
    ]


def neuron_slices(path: str, block: Any, kept: Sequence[int], *, bias: bool = False) -> list[Slice]:
    """Returns the edits of the block at `path` that keep these feed-forward neurons; none where all are kept.

    Args as those of `group_slices`.
    """
    if len(kept) == widths(block).neurons:
        return []
    return [*(Slice(f"{path}.{name}", tuple(kept)) for name in _UP), Slice(f"{path}.{DOWN}", None, tuple(kept), bias)]


def settle_widths(block: Any) -> None:
    """Puts the counters of an edited block right: what it says of its heads and neurons is what its projections have.

    Raises:
        ValueError: keys and values, or queries and outputs, have been cut differently.
    """
    width = widths(block)
    query, key, value, out, *_ = (block.get_submodule(name) for name in _LINEARS)
    if value.out_features != key.out_features or out.in_features != query.out_features:
        raise ValueError(
            f"projections of an attention must be cut alike, but queries, keys, values and outputs have "
            f"{query.out_features}, {key.out_features}, {value.out_features} and {out.in_features} channels."
        )
    attention, feed_forward = block.get_submodule(ATTENTION), block.get_submodule(FEED_FORWARD)
    attention.num_key_value_groups = width.group_heads
    for name, count in (("num_heads", width.groups * width.group_heads), ("num_key_value_heads", width.groups)):
        if hasattr(attention, name):  # of some relatives
            setattr(attention, name, count)
    if hasattr(feed_forward, "intermediate_size"):
        feed_forward.intermediate_size = width.neurons


def gradient_sums(block: Any, salience: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns (G,) and (F,): for each KV group and neuron the sum over all weights that go with it.

    Args:
        block: the unedited block.
        salience: of each projection's weight, by the names of `weights`, a tensor of its shape.
    """
    width = widths(block)
    rows = {name: salience[name].sum(1) for name in (_QUERY, *_KEYS, *_UP)}
    columns = {name: salience[name].sum(0) for name in (OUT, DOWN)}
    groups = rows[_QUERY].view(width.groups, -1).sum(1) + columns[OUT].view(width.groups, -1).sum(1)
    for name in _KEYS:
        groups = groups + rows[name].view(width.groups, -1).sum(1)
    return groups, rows[_UP[0]] + rows[_UP[1]] + columns[DOWN]


def weights(block: Any) -> dict[str, Tensor]:
    """Returns the weights of the seven projections by their paths in the block."""
    return {name: _linear(block, name).weight for name in _LINEARS}


def _linear(block: Any, name: str) -> nn.Linear:
    try:
        module = block.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Linear):
        kind = "missing" if module is None else f"a {type(module).__name__}"
        raise ValueError(  # noqa: TRY004 - a model is a user's input, and every bad input is a ValueError
            f"{name} of a block must be a linear layer to cut widths, but in {type(block).__name__} it is {kind}."
        )
    return module


def _others(attention: Any) -> list[tuple[str, nn.Parameter]]:
    names = tuple(name.removeprefix(f"{ATTENTION}.") for name in (_QUERY, *_KEYS, OUT))
    return [pair for pair in attention.named_parameters() if not pair[0].startswith(names)]


def _row(linear: nn.Linear) -> int:
    return linear.in_features + (linear.bias is not None)


def _channels(units: Sequence[int], width: int) -> tuple[int, ...]:
    return tuple(channel for unit in units for channel in range(unit * width, (unit + 1) * width))
