"""From a stage's `calibration` settings and its texts to the tokens that criteria are computed on."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ldc.data.text import Calibration, calibration
from ldc.runtime.checks import check_whole
from ldc.runtime.texts import calibration_texts, text_source

log = logging.getLogger(__name__)
SETTINGS = ("num_samples", "length", "seed", "add_bos_to_every")


def check_calibration_set(data: Any, settings: Mapping[str, Any]) -> None:
    """Checks what can be known before a text is read.

    Raises:
        ValueError: a setting is outside its range, unknown or missing, or the texts are not there.
    """
    check_draw(settings, SETTINGS)
    if type(settings["add_bos_to_every"]) is not bool:
        raise ValueError(f"add_bos_to_every must be true or false, not {settings['add_bos_to_every']!r}.")
    text_source(data).check()


def check_draw(settings: Mapping[str, Any], names: Sequence[str]) -> None:
    """Checks how many samples are drawn, of what length and by what seed.

    Raises:
        ValueError: the settings are not those of these names, or one of the draw is outside its range.
    """
    if set(settings) != set(names):
        raise ValueError(f"calibration must have {', '.join(names)}, not {', '.join(settings)}.")
    check_whole(settings, "num_samples")
    check_whole(settings, "length", least=2)
    check_whole(settings, "seed", least=0)


def calibration_set(data: Any, tokenizer: Any, settings: Mapping[str, Any], cache: str | None = None) -> Calibration:
    """Returns the calibration set that the settings say, of the data's training texts.

    Raises:
        ValueError: there is no tokenizer, or the texts are too few or too short.
    """
    if tokenizer is None:
        raise ValueError("teacher must have a tokenizer to make a calibration set, but it has none.")
    drawn = calibration(calibration_texts(data, cache), tokenizer, **settings)
    samples, length = drawn.ids.shape
    log.info("Calibration set: %d samples of %d tokens, fingerprint %s.", samples, length, drawn.fingerprint)
    return drawn
