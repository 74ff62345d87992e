"""What is asked of a network that FSDP2 may have divided."""

from torch import nn
from torch.distributed.fsdp import FSDPModule


def divide_again(network: nn.Module) -> None:
    """Divides what a forward pass without a backward pass has left gathered: the root, which holds it for the latter.

    Until then the network's parameters are whole tensors that neither checkpoint nor optimizer knows. Nothing happens
    to a network that is not divided.
    """
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
