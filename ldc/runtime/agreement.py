"""Checks that the teachers of a chain's stages belong together, from their configs alone."""

from collections.abc import Iterable
from typing import Any

from ldc.models import part_config
from ldc.runtime.teachers import language_spec, names_language_model, teacher_spec

_SHARED = {"in_channels": "latent channels", "cross_attention_dim": "text width"}
_SHARED_BY_LANGUAGE_MODELS = {"vocab_size": "vocabulary size"}


def check_teachers(teachers: Iterable[tuple[str, Any]]) -> None:
    """Checks that all teachers, given as (stage, config), have the latent channels and the text width of the first.

    Those of language models have its vocabulary.

    Raises:
        ValueError: two differ, so that one stage's student would not fit the other's latents, texts or tokens.
    """
    first: tuple[str, Any, dict[str, Any]] | None = None
    for stage, config in teachers:
        if first is None:
            first = stage, config, _facts(config)
        elif config == first[1]:
            continue
        other, facts = first[2], _facts(config)
        if facts.keys() != other.keys():
            raise ValueError(
                f"teachers of a chain must be all diffusion or all language models, but those of {first[0]!r} and "
                f"{stage!r} are of both kinds."
            )
        for meaning, value in facts.items():
            if value != other[meaning]:
                raise ValueError(
                    f"teacher of stage {stage!r} must have the {meaning} of stage {first[0]!r}, {other[meaning]}, "
                    f"not {value}."
                )


def _facts(config: Any) -> dict[str, Any]:
    """Returns what all teachers of a chain must share, by its meaning."""
    if names_language_model(config):
        from ldc.models.language import meta_language_model  # noqa: PLC0415 - of use to language models alone

        settings = meta_language_model(language_spec(config)).config
        return {meaning: getattr(settings, key) for key, meaning in _SHARED_BY_LANGUAGE_MODELS.items()}
    unet = part_config(teacher_spec(config), "unet")
    return {meaning: unet.get(key) for key, meaning in _SHARED.items()}
