"""Which modules of a network FSDP2 gathers at a time."""

from collections.abc import Iterator

from torch import nn


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yields the modules that are sharded on their own: a network's outermost lists' entries, and what stands beside.

    Of a U-Net these are its down, mid and up blocks; of a transformer its layers. What is left (the layers before and
    after them) is gathered with the root, and so is a network that has no lists.
    """
    children = list(network.children())
    lists = [child for child in children if isinstance(child, nn.ModuleList)]
    for child in children:
        if child in lists:
            yield from child
        elif lists and has_lists(child):
            yield child  # the U-Net's mid block
        else:
            yield from blocks(child)  # a wrapper of networks: taps, a U-Net with its text encoder


def has_lists(module: nn.Module) -> bool:
    """Tells whether there are lists of modules anywhere inside."""
    return any(isinstance(inner, nn.ModuleList) for inner in module.modules())
