"""Blocks shared out over the ranks of torch.distributed: each scores its own, and all learn all scores.

A block's score is computed as one process would, so it is the same to the last bit, whatever the number of ranks.
"""

from collections.abc import Sequence
from typing import Any

from torch import distributed

from ldc.pruning.depth.criterion import Scored


def share(places: Sequence[int]) -> list[int]:
    """Returns this rank's blocks: every `world size`-th, so that early ones, which cost most, are spread."""
    return list(places[distributed.get_rank() :: distributed.get_world_size()])


def gather(own: Scored, fingerprint: str) -> Scored:
    """Returns the scores of all ranks.

    Args:
        own: this rank's.
        fingerprint: of the calibration tokens, which must be the same everywhere.

    Raises:
        ValueError: the ranks scored on different tokens.
    """
    found: list[Any] = [None] * distributed.get_world_size()
    group: Any = distributed.new_group(backend="gloo")  # the default one may be of GPUs alone
    distributed.all_gather_object(found, (own.scores, fingerprint), group)
    distributed.destroy_process_group(group)
    fingerprints = {theirs for _, theirs in found}
    if len(fingerprints) > 1:
        raise ValueError(f"calibration must be the same on all ranks, not {' and '.join(sorted(fingerprints))}.")
    return Scored({place: score for scores, _ in found for place, score in scores.items()}, own.base)


def is_shared() -> bool:
    """Tells whether there are other ranks to share with."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
