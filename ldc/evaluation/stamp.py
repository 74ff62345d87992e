"""What a figure was measured with. Figures of unlike stamps must not be compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Stamp:
    """All that fixes a measurement but the model and its sampler, which are what is being compared."""

    extractor: str
    extractor_hash: str
    resize: str
    num_images: int
    prompts_hash: str  # of the prompts in order
    real_hash: str  # of the real images and what they show
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dictionary."""
        return asdict(self)


def compare(first: Stamp | Mapping[str, Any], second: Stamp | Mapping[str, Any]) -> None:
    """Returns if figures with these stamps may stand in one table.

    Raises:
        ValueError: the stamps differ; the message names the first field that does.
    """
    one, two = (stamp.to_json() if isinstance(stamp, Stamp) else stamp for stamp in (first, second))
    for field in fields(Stamp):
        if one.get(field.name) != two.get(field.name):
            values = f"{one.get(field.name)!r} and {two.get(field.name)!r}"
            raise ValueError(f"{field.name} of the stamps must be equal for figures to be compared, not {values}.")
