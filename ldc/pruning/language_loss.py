"""The loss that language models are scored by.

Legend: B batch, L tokens.
"""

import torch
from torch import Tensor, nn


def next_token_loss(logits: Tensor, ids: Tensor, reduction: str = "mean") -> Tensor:
    """Returns the cross entropy of every token but the first, given those before it, in float32.

    Args:
        logits: (B, L, vocabulary).
        ids: (B, L).
        reduction: mean or sum over B (L - 1) tokens.
    """
    # Sequence by sequence: logits and their logarithms are by far the largest tensors, and need not be copied whole.
    pairs = zip(logits[:, :-1], ids[:, 1:], strict=True)
    sums = [nn.functional.cross_entropy(predicted.float(), target, reduction="sum") for predicted, target in pairs]
    total = torch.stack(sums).sum()
    return total if reduction == "sum" else total / ids[:, 1:].numel()
