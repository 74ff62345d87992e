"""Checks that the teachers of a chain's stages belong together, from their configs alone."""

from collections.abc import Iterable
from typing import Any

from ldc.models import part_config
from ldc.runtime.teachers import teacher_spec

_SHARED = {"in_channels": "latent channels", "cross_attention_dim": "text width"}


def check_teachers(teachers: Iterable[tuple[str, Any]]) -> None:
    """Checks that all teachers, given as (stage, config), have the latent channels and the text width of the first.

    Raises:
        ValueError: two differ, so that one stage's student would not fit the other's latents or texts.
    """
    first: tuple[str, dict[str, Any]] | None = None
    for stage, config in teachers:
        unet = part_config(teacher_spec(config), "unet")
        if first is None:
            first = stage, unet
        for key, meaning in _SHARED.items():
            if unet.get(key) != first[1].get(key):
                raise ValueError(
                    f"teacher of stage {stage!r} must have the {meaning} of stage {first[0]!r}, {first[1].get(key)}, "
                    f"not {unet.get(key)}."
                )
